"""Attempts on the machine, at every level of isolation that it offers. Every payload is bounded."""

import ctypes
import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from reforge.records import Problem, Status, TestCase, Verdict
from reforge.sandbox.judge import Judge
from tests.attacks.breaches import BREACHES
from tests.attacks.gaps import GAPS, TRACES_LEFT, documented, expected, left_by_the_last
from tests.attacks.levels import judge_at

REPOSITORY = Path(__file__).resolve().parents[2]


def printed(judge: Judge, program: str, expected: str) -> Verdict:
    return judge.judge(program, Problem("attack", "", "", (TestCase("stdin", "", expected),)))


def called(judge: Judge, body: str) -> Verdict:
    return judge.judge(f"def f(x):\n    {body}", Problem("f", "", "", (TestCase("call", "[1]", "1"),), entry_point="f"))


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What there is to attack. The folder lies where everybody may pass: closed only if the sandbox closes it."""
    folder = tmp_path_factory.mktemp("target")
    for path in folder.parents[:2]:
        path.chmod(0o755)
    folder.chmod(0o777)
    secret = folder / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o666)
    (folder / "link").symlink_to(secret)
    (folder / "private").write_text("hunter2")
    (folder / "private").chmod(0o600)
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0, 4096, 0o1666)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={"TOKEN": "hunter2"})
    with (
        sleeper,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract_datagrams,
    ):
        port = server.getsockname()[1]
        local.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        local.listen()
        abstract.bind(f"\0{port}")
        abstract.listen()
        datagrams.bind(str(folder / "datagrams"))
        (folder / "datagrams").chmod(0o777)
        abstract_datagrams.bind(f"\0{port}d")
        yield {
            "SECRET": str(secret),
            "FOLDER": str(folder),
            "PORT": str(port),
            "SOCKET": str(folder / "socket"),
            "PARENT": str(os.getpid()),
            "SLEEPER": str(sleeper.pid),
            "REPOSITORY": str(REPOSITORY),
            "SEGMENT": str(segment),
            "PACKAGES": sysconfig.get_path("purelib"),
        }
        sleeper.kill()
    libc.shmctl(segment, 0, None)


def attempt(judge: Judge, breach: str, targets: dict[str, str]) -> str:
    """Either "breached" or "held", or how the program ended that could say neither."""
    left_by_the_last(Path(targets["FOLDER"]))
    body = breach
    for name, value in targets.items():
        body = body.replace(name, value)
    program = "import os, random, socket, threading, time\ntry:\n"
    program += "".join(f"    {line}\n" for line in body.split("\n"))
    program += (
        "    said = 'breached'\nexcept BaseException:\n    said = 'held'\nos.write(1, said.encode())\nos._exit(0)\n"
    )
    verdict = printed(judge, program, "held")
    if verdict.status is Status.ACCEPTED:
        return "held"
    return "breached" if verdict.status is Status.WRONG_ANSWER else f"{verdict.status}: {verdict.reason}"


@pytest.mark.parametrize("name", BREACHES)
def test_breaches(
    judge: Judge, level: str, name: str, targets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    said = attempt(judge, BREACHES[name], targets)
    assert said == expected(name, level), "docs/sandbox.md lists where this succeeds: mend the gap, or the list"


def test_the_attempts_are_real(targets: dict[str, str]) -> None:
    """A hole is planted: with all layers switched off, the same attempts must be seen to succeed."""
    with judge_at("limits") as open_judge:
        succeeded = [name for name, breach in BREACHES.items() if attempt(open_judge, breach, targets) == "breached"]
    for name in ("read a file", "write to a folder", "connect to a server", "fork", "subprocess", "io_uring"):
        assert name in succeeded
    assert len(succeeded) >= 30


EXHAUSTING = {
    "a loop": ("while True: pass", {Status.TIME_LIMIT}),
    "a loop that swallows everything": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except Exception: pass\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        {Status.TIME_LIMIT},
    ),
    "a sleep": ("import time\ntime.sleep(100)", {Status.TIME_LIMIT}),
    "a thread that never ends": (
        "import threading\nthreading.Thread(target=threading.Event().wait).start()", {Status.TIME_LIMIT}
    ),
    "an exit handler that never ends": (
        "import atexit, time\natexit.register(time.sleep, 100)", {Status.TIME_LIMIT}
    ),
    "reading its own channels": (
        "import os\nfor d in range(3, 64):\n    try: os.read(d, 1)\n    except OSError: pass", {Status.TIME_LIMIT}
    ),
    "closing its own channels": ("import os\nos.closerange(0, 64)\nwhile True: pass", {Status.TIME_LIMIT}),
    "4 GB": ("x = bytearray(4 << 30)", {Status.MEMORY_LIMIT}),
    "4 GB mapped": ("import mmap\nmmap.mmap(-1, 4 << 30)", {Status.RUNTIME_ERROR}),
    "a growing list": ("x = [0]\nwhile True: x = x + x", {Status.MEMORY_LIMIT, Status.TIME_LIMIT}),
    "a dictionary of colliding keys": (
        "class K:\n    def __hash__(self): return 1\nd = {}\nwhile True: d[K()] = 1", {Status.TIME_LIMIT}
    ),
    "more limits": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nx = bytearray(4 << 30)",
        {Status.MEMORY_LIMIT},
    ),
    "recursion": ("def g(): g()\ng()", {Status.RUNTIME_ERROR}),
    "recursion without a limit": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef g(): g()\ng()", {Status.MEMORY_LIMIT, Status.TIME_LIMIT}
    ),
    "recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**5): x = [x]\nrepr(x)",
        {Status.RUNTIME_ERROR, Status.TIME_LIMIT},
    ),
    "a segmentation fault": ("import ctypes\nctypes.string_at(0)", {Status.RUNTIME_ERROR}),
    "its own death": ("import os\nos.kill(os.getpid(), 9)", {Status.RUNTIME_ERROR, Status.WRONG_ANSWER}),
    "an abort": ("import os\nos.abort()", {Status.RUNTIME_ERROR}),
    "a stop": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", {Status.TIME_LIMIT, Status.WRONG_ANSWER}),
    "much output": ("while True: print('x' * 1000)", {Status.OUTPUT_LIMIT}),
    "much output, errors swallowed": (
        "import os\nfor _ in range(1000):\n    try: os.write(1, b'x' * 1000)\n    except OSError: pass",
        {Status.OUTPUT_LIMIT},
    ),
    "much noise": ("import sys\nfor _ in range(10**4): sys.stderr.write('x' * 1000)", {Status.WRONG_ANSWER}),
    "a huge integer": ("print(10 ** 10**9)", {Status.TIME_LIMIT, Status.MEMORY_LIMIT}),
    "a power tower": ("print(9 ** 9 ** 9 % 10)", {Status.TIME_LIMIT, Status.MEMORY_LIMIT}),
    "a regular expression": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", {Status.TIME_LIMIT}),
    "a compile bomb": ("(1,) * (1 << 30)", {Status.MEMORY_LIMIT, Status.WRONG_ANSWER}),
    "a compile bomb of constants": ("x = 'a' * (1 << 40)", {Status.MEMORY_LIMIT}),
    "deep source": ("x = " + "(" * 5000 + ")" * 5000, {Status.COMPILE_ERROR}),
    "deep attributes": ("x = a" + ".a" * 100_000, {Status.COMPILE_ERROR, Status.RUNTIME_ERROR}),
    "an endless import": ("import sys\nclass F:\n    def find_spec(s, *a):\n        while True: pass\n"
                          "sys.meta_path.insert(0, F())\nimport nothing", {Status.TIME_LIMIT}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXHAUSTING)
def test_exhausting(strict: Judge, name: str) -> None:
    program, statuses = EXHAUSTING[name]
    verdict = printed(strict, program, "unreachable")
    assert verdict.status in statuses, verdict.reason


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("while True: pass", Status.TIME_LIMIT),
        ("return [0] * (1 << 40)", Status.MEMORY_LIMIT),
        ("return 1 << 100_000_000", Status.RUNTIME_ERROR),
        ("return 'x' * (1 << 20)", Status.RUNTIME_ERROR),
        ("import os\n    for d in range(64):\n        try: os.write(d, b'x' * (1 << 22))\n        except OSError: pass",
         Status.OUTPUT_LIMIT),
        ("import os\n    os.closerange(0, 64)\n    while True: pass", Status.TIME_LIMIT),
        ("import os, time\n    os.closerange(0, 64)\n    time.sleep(100)", Status.TIME_LIMIT),
        ("x = []; x.append(x); return x", Status.RUNTIME_ERROR),
        ("x = [1]\n    for _ in range(99): x = [x, x]\n    return x", Status.RUNTIME_ERROR),
    ],
)  # fmt: skip
def test_exhausting_in_a_call(strict: Judge, body: str, status: Status) -> None:
    verdict = called(strict, body)
    assert verdict.status is status, verdict.reason


def test_large_arguments_that_are_never_read_do_not_hang(strict: Judge) -> None:
    program = "import os, time\nfor d in range(3, 64):\n    try: os.write(d, b'{\"loaded\": true}\\n')\n" \
        "    except OSError: pass\nwhile True: time.sleep(1)"  # fmt: skip
    problem = Problem("large", "", "", (TestCase("call", f'["{"x" * (1 << 21)}"]', "1"),), entry_point="f")
    assert strict.judge(program, problem).status is Status.TIME_LIMIT


# What one program does, and how the next would notice. Each pair is judged by the same server, one after the other.
TRACES = {
    "a file": (
        "open('left', 'w').write('x')",
        "import os; print(os.path.exists('left'))",
    ),
    "a file in /tmp": (
        "open('/tmp/left', 'w').write('x')",
        "import os\nprint(os.path.exists('/tmp/left'))\ntry: os.unlink('/tmp/left')\nexcept OSError: pass",
    ),
    "a folder nobody may enter": (
        "import os\nos.makedirs('a/b')\nopen('a/b/left', 'w').close()\nos.chmod('a', 0)",
        "import os; print(bool(os.listdir()))",
    ),
    "deep folders": (
        "import os\nfor _ in range(900):\n    os.mkdir('d'); os.chdir('d')",
        "import os; print(bool(os.listdir()))",
    ),
    "a folder closed to all": (
        "import os\nos.chmod('.', 0)",
        "open('mine', 'w').write('x'); print(open('mine').read() != 'x')",
    ),
    "a full disk": (
        "for i in range(999):\n    open(f'f{i}', 'wb').write(bytes(60_000))",
        "print(open('mine', 'w').write('x' * 60_000) != 60_000)",
    ),
    "a module": (
        "import sys, math\nmath.pi = 3\nsys.modules['left'] = sys",
        "import sys, math; print(math.pi == 3 or 'left' in sys.modules)",
    ),
    "a builtin": (
        "import builtins\nbuiltins.left = 1",
        "import builtins; print(hasattr(builtins, 'left'))",
    ),
    "an environment variable": (
        "import os\nos.environ['LEFT'] = 'x'",
        "import os; print('LEFT' in os.environ)",
    ),
    "a random state": (
        "import random\nrandom.seed(1)",
        "import random; print(random.random() != 0.8444218515250481)",
    ),
    "a descriptor": (
        "import os\nos.dup2(os.memfd_create('left'), 20)",
        "import os\ntry: os.fstat(20); print(True)\nexcept OSError: print(False)",
    ),
    "a limit": (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
        "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 9)",
    ),
    "a signal handler": (
        "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        "import signal; print(signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN)",
    ),
    "an attribute of the folder": (
        "import os\nos.setxattr('.', 'user.left', b'x')",
        "import os; print(bool(os.listxattr('.')))",
    ),
    "times of the folder": (
        "import os\nopen('f', 'w').close()\nos.unlink('f')\nos.utime('.', (7, 7))",
        "import os; s = os.stat('.'); print(s.st_mtime == 7 or s.st_mtime > s.st_ctime)",
    ),
    "flags of an open file": (
        "import fcntl, os\nfor d in range(3): fcntl.fcntl(d, fcntl.F_SETFL, os.O_NONBLOCK)",
        "import fcntl, os; print(any(fcntl.fcntl(d, fcntl.F_GETFL) & os.O_NONBLOCK for d in range(3)))",
    ),
    "a lock on an open file": (
        "import fcntl\nfor d in range(3): fcntl.flock(d, fcntl.LOCK_EX)",
        "import fcntl\ntry: fcntl.flock(open('/dev/null'), fcntl.LOCK_EX | fcntl.LOCK_NB); print(False)\n"
        "except BlockingIOError: print(True)",
    ),
    "a file in /dev/shm": (
        "open('/dev/shm/left', 'w').write('x')",
        "import os\nprint(os.path.exists('/dev/shm/left'))\ntry: os.unlink('/dev/shm/left')\nexcept OSError: pass",
    ),
    "a mask for new files": (
        "import os\nos.umask(0o777)",
        "import os; print(os.umask(0) == 0o777)",
    ),
}


@pytest.mark.parametrize("name", TRACES)
def test_no_program_meets_what_another_left(judge: Judge, level: str, name: str) -> None:
    left = found(judge, name)
    assert left == documented(TRACES_LEFT, name, level), "docs/sandbox.md lists where this is left"


def found(judge: Judge, name: str) -> bool:
    first, second = TRACES[name]
    printed(judge, f"# {name}\n{first}", "")
    verdict = printed(judge, f"# {name}\n{second}", "False")
    assert verdict.status in (Status.ACCEPTED, Status.WRONG_ANSWER), verdict.reason
    return verdict.status is Status.WRONG_ANSWER


def test_no_process_is_left(judge: Judge) -> None:
    """Where programs can start others, these have left their group and lost their parent."""
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\n    os._exit(0)"
    )
    for number in range(3):
        printed(judge, f"# {number}\n{program}", "")
    (server,) = judge._fleet._folders
    for task in Path(f"/proc/{server._process.pid}/task").iterdir():
        children = (task / "children").read_text().split()
        assert len(children) <= (judge._fleet.layers[:1] == ("namespaces",))  # there, the server is one itself


def test_the_tables_name_what_is_tried() -> None:
    assert GAPS.keys() <= BREACHES.keys()
    assert TRACES_LEFT.keys() <= TRACES.keys()
    for table in (GAPS, TRACES_LEFT):
        assert all(any(levels) and "full" not in levels[0] | levels[1] for levels in table.values())


def test_nothing_runs_after_the_verdict(judge: Judge) -> None:
    """A thread left behind by a function that has answered would go on writing; so the next program would find it."""
    program = (
        "import os, threading, time\ndef run():\n    while True:\n        open('beat', 'a').write('x')\n"
        "        time.sleep(0.001)\nthreading.Thread(target=run).start()\ntime.sleep(0.05)\ndef f(x): return x"
    )
    problem = Problem("thread", "", "", (TestCase("call", "[1]", "1"),), entry_point="f")
    assert judge.judge(program, problem).status is Status.ACCEPTED
    later = "import os, time\nbefore = os.listdir()\ntime.sleep(0.1)\nprint(before, os.listdir())"
    assert printed(judge, later, "[] []").status is Status.ACCEPTED


def test_threads_work(judge: Judge) -> None:
    program = "import threading\nt = [threading.Thread(target=print, args=(1,)) for _ in range(4)]\n"
    program += "[x.start() for x in t]\n[x.join() for x in t]"
    assert printed(judge, program, "1 1 1 1").status is Status.ACCEPTED


def test_a_large_stack_works(judge: Judge) -> None:
    program = (
        "import sys, threading\nthreading.stack_size(64 << 20)\nsys.setrecursionlimit(10**6)\n"
        "def add(n): return 0 if n == 0 else 1 + add(n - 1)\n"
        "threading.Thread(target=lambda: print(add(50_000))).start()"
    )
    assert printed(judge, program, "50000").status is Status.ACCEPTED


def test_the_environment_is_the_same_everywhere(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    program = "import os\nprint(*sorted(os.environ), sep=',')"
    expected = "LANG,OPENBLAS_NUM_THREADS,PATH,PYTHONHASHSEED,TMPDIR,TZ"
    assert printed(judge, program, expected).status is Status.ACCEPTED


def test_only_the_interpreters_own_library_is_importable(judge: Judge) -> None:
    program = (
        "import sys\nfor name in ('reforge.records', 'reforge.config', 'pydantic', 'pip', 'sitecustomize', 'numpy'):\n"
        "    try: __import__(name); print(name)\n    except ImportError: pass\nprint(sys.flags.no_site, 'end')"
    )
    assert printed(judge, program, "1 end").status is Status.ACCEPTED


def test_a_program_starts_in_an_empty_folder_it_may_write_to(judge: Judge) -> None:
    program = (
        "import os, tempfile\nopen('x', 'w').write('x')\nprint(os.listdir(), tempfile.gettempdir() == os.getcwd())"
    )
    assert printed(judge, program, "['x'] True").status is Status.ACCEPTED
