# ruff: noqa: E501
"""After any hostile program, a program finds the world as on a server that has just started."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reforge.sandbox.judge import Judge
from reforge.sandbox.limits import Failed, Limits
from reforge.sandbox.running import memory_file, quiet_child
from tests.attacks.forgeries import FUNCTIONS, PRINTS
from tests.attacks.gaps import GAPS, TRACES_LEFT, documented, left_by_the_last
from tests.attacks.levels import judge_at

LIMITS = Limits(cpu_seconds=5.0, wall_seconds=5.0, memory_mb=128, output_kb=1024)

# What a program can observe, by the name of the gap in docs/sandbox.md through which something may be left there.
# Numbers that the kernel hands out in turn (of processes, files, devices) and clocks are not compared.
PROBE = r"""
import builtins, ctypes, fcntl, gc, json, locale, os, random, resource, signal, stat, sys, threading, time
def look(at):
    try: return at()
    except Exception as error: return f'{type(error).__name__}: {getattr(error, "errno", "")}'
def folder():
    s = os.stat('.')
    fresh = 0 <= s.st_ctime_ns - s.st_mtime_ns < 10**9 and time.time() - s.st_mtime < 60
    return [oct(s.st_mode), s.st_nlink, s.st_uid == os.geteuid(), s.st_gid == os.getegid(), fresh, os.listdir(), os.listxattr('.')]
def descriptor(number):
    s = os.fstat(number)
    return [number, stat.S_IFMT(s.st_mode), s.st_size, fcntl.fcntl(number, fcntl.F_GETFL), fcntl.fcntl(number, fcntl.F_GETFD),
            look(lambda: os.lseek(number, 0, 1))]
def mask():
    old = os.umask(0)
    os.umask(old)
    return old
def room():
    s = os.statvfs('.')
    return [s.f_blocks, s.f_bfree, s.f_files, s.f_ffree] if JAILED else 0
def writes():
    for name in ('probe', 'd'): assert not os.path.lexists(name)
    with open('probe', 'w') as file: file.write('x' * 1000)
    os.mkdir('d'); os.rmdir('d'); os.unlink('probe')
libc = ctypes.CDLL(None)
world = {
    'folder': look(folder), 'around': look(lambda: sorted(os.listdir('..'))), 'root': look(lambda: sorted(os.listdir('/'))), 'room': look(room),
    'writes': look(writes), 'descriptors': [found for d in range(64) if type(found := look(lambda: descriptor(d))) is list],
    'environment': dict(os.environ), 'limits': [look(lambda: resource.getrlimit(n)) for n in range(16)],
    'modules': sorted(sys.modules), 'random': random.random(), 'hash': hash('x'), 'mask': mask(), 'argv': sys.argv,
    'processors': look(lambda: sorted(os.sched_getaffinity(0))), 'nice': os.getpriority(os.PRIO_PROCESS, 0), 'policy': os.sched_getscheduler(0),
    'devices': look(lambda: sorted(os.listdir('/dev'))), 'cwd': os.getcwd() if JAILED else os.path.basename(os.getcwd()),
    'recursion': sys.getrecursionlimit(), 'digits': sys.get_int_max_str_digits(), 'path': [p for p in sys.path if 'reforge-' not in p],
    'signals': [[s, str(signal.getsignal(s))[:30]] for s in sorted(signal.valid_signals())], 'blocked': str(signal.pthread_sigmask(0, [])),
    'timer': signal.getitimer(0), 'builtins': sorted(vars(builtins)), 'threads': threading.active_count(), 'stack': threading.stack_size(),
    'switch': sys.getswitchinterval(), 'hooks': [str(sys.gettrace()), str(sys.getprofile()), len(sys.meta_path), len(sys.path_hooks)],
    'gc': [gc.isenabled(), gc.get_threshold()], 'locale': locale.setlocale(locale.LC_ALL), 'zone': time.tzname, 'host': os.uname().nodename,
    'groups': [os.getgroups(), os.getresuid()[0] == os.geteuid()], 'flags': str(sys.flags), 'death': [libc.prctl(n, 0, 0, 0, 0) for n in (3, 7, 21, 39)],
    'stdin': sys.stdin.read(), 'a file in /tmp': look(lambda: sorted(os.listdir('/tmp'))),
    'a file in /dev/shm': look(lambda: os.path.exists('/dev/shm/left')),
    'shared memory that stays': libc.shmget(0x5EC, 0, 0) >= 0, 'a semaphore that stays': libc.semget(0x5EC, 0, 0) >= 0,
    'a message queue that stays': libc.msgget(0x5EC, 0) >= 0,
}
print(json.dumps(world))
"""
ELSEWHERE = ("/tmp", "/dev/shm", "/var/tmp", "/", "/dev")
LEAVING = {
    "everything at once": (
        "import os, random, resource, signal, sys, builtins, gc, threading, time, locale\n"
        "def no(of, *a):\n    try: return of(*a)\n    except Exception: return None\n"
        "no(os.umask, 0o777); no(os.nice, 5); no(os.sched_setaffinity, 0, [0]); no(random.seed, 5)\n"
        "for n in range(16): no(resource.setrlimit, n, (5, 5)) if n not in (0, 9) else None\n"
        "for s in range(1, 65): no(signal.signal, s, signal.SIG_IGN)\n"
        "no(signal.pthread_sigmask, signal.SIG_BLOCK, range(1, 65)); sys.setrecursionlimit(99); gc.disable()\n"
        "os.environ['LEFT'] = 'x'; builtins.left = sys.modules['left'] = sys; sys.argv.append('left'); sys.path.append('left')\n"
    ),
    "kernel objects": (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nlibc.shmget(0x5EC, 4096, 0o1600); libc.semget(0x5EC, 1, 0o1600); libc.msgget(0x5EC, 0o1600)\n"
        "libc.prctl(36, 1, 0, 0, 0); libc.prctl(1, 9, 0, 0, 0); libc.prctl(15, b'left', 0, 0, 0)"
    ),
    "its folder in disorder": (
        "import os\ndef no(of, *a):\n    try: of(*a)\n    except OSError: pass\n"
        "no(os.setxattr, '.', 'user.left', b'x'); no(os.mkfifo, 'pipe'); no(os.symlink, '/', 'root'); no(os.symlink, 'loop', 'loop')\n"
        "for i in range(200): os.mkdir('d'); os.chdir('d')\nno(os.link, '/dev/null', 'null'); no(os.chmod, '.', 0)"
    ),
    "files everywhere": (
        "import os\nfor folder in ('..', '/tmp', '/dev/shm', '/var/tmp', '/', '/dev'):\n"
        "    try: open(folder + '/left', 'w').write('x')\n    except OSError: pass"
    ),
    "its descriptors": (
        "import fcntl, os\nfor d in range(9):\n    try: fcntl.fcntl(d, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND); fcntl.flock(d, 2); os.lseek(d, 9, 0)\n"
        "    except OSError: pass\nos.closerange(0, 64)"
    ),
    "too much": "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "threads": "import threading, time\nfor _ in range(60): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\nimport os\nos._exit(0)",
    "other processes": "import os, time\ntry:\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: time.sleep(99)\n        os._exit(0)\nexcept OSError: pass",
    "a crash": "import ctypes\nctypes.string_at(0)",
}  # fmt: skip
LEAVING |= {
    name: PRINTS[name]
    for name in ("its folder removed", "standard output truncated to a size", "links for the checker")
}
LEAVING |= {
    name: FUNCTIONS[name]
    for name in ("its folder replaced", "its folder full", "builtins", "library names in its folder", "channels closed")
}


def printed_by(judge: Judge, program: str) -> str:
    """Nobody's verdict: what it wrote, however it ended."""
    job = {"program": program, "entry": "", "files": {}, "preamble": ""}
    with (
        judge._fleet.borrow() as server,
        memory_file(b"input") as stdin,
        memory_file() as stdout,
        quiet_child(server, "program", job, LIMITS, 1 << 20, stdin, stdout) as child,
    ):
        try:
            child.finish()
        except Failed:
            return ""
        return os.pread(stdout, 1 << 20, 0).decode()


def world(judge: Judge, level: str) -> dict[str, object]:
    text = printed_by(judge, f"JAILED = {'namespaces' in judge._fleet.layers}\n{PROBE}")
    seen: dict[str, object] = json.loads(text)
    return {name: it for name, it in seen.items() if not any(documented(of, name, level) for of in (GAPS, TRACES_LEFT))}


@pytest.fixture(scope="module")
def new(level: str) -> Iterator[tuple[Judge, dict[str, object]]]:
    with judge_at(level, LIMITS) as judge:
        yield judge, world(judge, level)


@pytest.mark.parametrize("name", LEAVING)
def test_a_program_finds_the_world_as_new(
    new: tuple[Judge, dict[str, object]], level: str, name: str, tmp_path: Path
) -> None:
    judge, at_first = new
    try:
        printed_by(judge, LEAVING[name])
        now = world(judge, level)
    finally:  # where there are gaps, this machine is not to keep what went through them
        left_by_the_last(tmp_path)
        for folder in ELSEWHERE:
            Path(folder, "left").unlink(missing_ok=True)
    assert {it: (at_first[it], now[it]) for it in at_first if at_first[it] != now[it]} == {}


def test_only_a_folder_that_nobody_used_is_kept(new: tuple[Judge, dict[str, object]]) -> None:
    judge, _ = new
    look = "import os; at = os.stat('.'); print(at.st_ctime_ns, at.st_ino)"
    printed_by(judge, "open('a', 'w').close()")
    kept = printed_by(judge, look)
    assert (printed_by(judge, look) == kept) is ("seccomp" in judge._fleet.layers)  # nothing else stops all it may do
    printed_by(judge, "import os; os.mkdir('a'); os.rmdir('a')")
    assert printed_by(judge, look) != kept


def test_the_probe_sees_what_is_planted(new: tuple[Judge, dict[str, object]], level: str) -> None:
    judge, at_first = new
    planted = "import os, random, sys\nos.mkdir('x'); os.umask(0o7); random.random(); os.environ['A'] = 'x'; sys.modules['left'] = sys\n"
    seen = json.loads(printed_by(judge, f"{planted}JAILED = {'namespaces' in judge._fleet.layers}\n{PROBE}"))
    assert {"folder", "mask", "random", "environment", "modules"} <= {it for it in at_first if at_first[it] != seen[it]}
