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

from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Judge
from tests.attacks.asked import called, printed
from tests.attacks.breaches import BREACHES
from tests.attacks.gaps import GAPS, TRACES_LEFT, expected, left_by_the_last
from tests.attacks.levels import judge_at
from tests.attacks.traces import TRACES

REPOSITORY = Path(__file__).resolve().parents[2]


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


def test_the_tables_name_what_is_tried() -> None:
    assert GAPS.keys() <= BREACHES.keys()
    assert TRACES_LEFT.keys() <= TRACES.keys()
    for table in (GAPS, TRACES_LEFT):
        assert all(any(levels) and "full" not in levels[0] | levels[1] for levels in table.values())
