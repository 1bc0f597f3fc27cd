"""Attempts on the machine: its time, memory, disk, processes and secrets. Every payload is bounded."""

import os
import sys
import time
from pathlib import Path

import pytest

from reforge.sandbox.judge import Judge
from reforge.types import Problem, Status, TestCase, Verdict


def printed(judge: Judge, program: str, expected: str) -> Verdict:
    return judge.judge(program, Problem("attack", "", "", (TestCase("stdin", "", expected),)))


def called(judge: Judge, body: str) -> Verdict:
    return judge.judge(f"def f(x):\n    {body}", Problem("f", "", "", (TestCase("call", "[1]", "1"),), entry_point="f"))


EXHAUSTING = {
    "a loop": ("while True: pass", Status.TIME_LIMIT),
    "a loop that swallows everything": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except Exception: pass\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        Status.TIME_LIMIT,
    ),
    "a sleep": ("import time\ntime.sleep(100)", Status.TIME_LIMIT),
    "reading its own channels": (
        "import os\nfor d in range(3, 64):\n    try: os.read(d, 1)\n    except OSError: pass",
        Status.TIME_LIMIT,
    ),
    "4 GB": ("x = bytearray(4 << 30)", Status.MEMORY_LIMIT),
    "a growing list": ("x = [0]\nwhile True: x = x + x", Status.MEMORY_LIMIT),
    "more limits": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nx = bytearray(4 << 30)",
        Status.RUNTIME_ERROR,
    ),
    "recursion": ("def g(): g()\ng()", Status.RUNTIME_ERROR),
    "a segmentation fault": (
        "import ctypes\nctypes.string_at(0)",
        Status.RUNTIME_ERROR,
    ),
    "its own death": ("import os\nos.kill(os.getpid(), 9)", Status.RUNTIME_ERROR),
    "an abort": ("import os\nos.abort()", Status.RUNTIME_ERROR),
    "much output": ("while True: print('x' * 1000)", Status.OUTPUT_LIMIT),
    "much output, errors swallowed": (
        "import os\nfor _ in range(1000):\n    try: os.write(1, b'x' * 1000)\n    except OSError: pass",
        Status.OUTPUT_LIMIT,
    ),
    "much noise": ("import sys\nfor _ in range(10**4): sys.stderr.write('x' * 1000)", Status.WRONG_ANSWER),
    "a huge integer": ("print(10 ** 10000)", Status.RUNTIME_ERROR),
    "a huge file": ("open('big', 'w').write('x' * (1 << 20))", Status.RUNTIME_ERROR),
    "many files": ("files = [open(str(i), 'w') for i in range(200)]", Status.RUNTIME_ERROR),
    "deep source": ("x = " + "(" * 5000 + ")" * 5000, Status.COMPILE_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("name", EXHAUSTING)
def test_exhausting(judge: Judge, name: str) -> None:
    program, status = EXHAUSTING[name]
    verdict = printed(judge, program, "unreachable")
    assert verdict.status is status, verdict.reason


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
def test_exhausting_in_a_call(judge: Judge, body: str, status: Status) -> None:
    verdict = called(judge, body)
    assert verdict.status is status, verdict.reason


def test_large_arguments_that_are_never_read_do_not_hang(judge: Judge) -> None:
    program = "import os, time\nfor d in range(3, 64):\n    try: os.write(d, b'{\"loaded\": true}\\n')\n" \
        "    except OSError: pass\nwhile True: time.sleep(1)"  # fmt: skip
    problem = Problem("large", "", "", (TestCase("call", f'["{"x" * (1 << 21)}"]', "1"),), entry_point="f")
    assert judge.judge(program, problem).status is Status.TIME_LIMIT


REFUSED = {
    "fork": "os.fork()",
    "a bounded fork bomb": "[os.fork() for _ in range(8)]",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "subprocess": "__import__('subprocess').run(['true'])",
    "multiprocessing": "__import__('multiprocessing').Process(target=print).start()",
    "signal to the parent": "os.kill(os.getppid(), 0)",
    "signal to everybody": "os.kill(-1, 0)",
    "signal to the parent's group": "os.killpg(os.getpgid(os.getppid()), 0)",
    "limits of the parent": "__import__('resource').prlimit(os.getppid(), 7)",
    "processors of the parent": "os.sched_setaffinity(os.getppid(), [0])",
    "a socket": "__import__('socket').socket()",
    "a unix socket": "__import__('socket').socket(1)",
    "more limits": "__import__('resource').setrlimit(0, (99, 99))",
}


@pytest.mark.skipif(sys.platform != "linux", reason="system call filters are Linux's")
@pytest.mark.parametrize("name", REFUSED)
def test_refused(judge: Judge, name: str) -> None:
    program = (
        f"import os\ntry:\n    {REFUSED[name]}\n    print('done')\nexcept (OSError, ValueError):\n    print('refused')"
    )
    verdict = printed(judge, program, "refused")
    assert verdict.status is Status.ACCEPTED, verdict.reason


def test_threads_work(judge: Judge) -> None:
    program = "import threading\nt = [threading.Thread(target=print, args=(1,)) for _ in range(4)]\n"
    program += "[x.start() for x in t]\n[x.join() for x in t]"
    assert printed(judge, program, "1 1 1 1").status is Status.ACCEPTED


def test_the_environment_holds_no_secrets(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    program = "import os\nprint(*sorted(os.environ), 'hunter2' in open('/proc/self/environ').read())"
    assert printed(judge, program, "LANG PATH PYTHONHASHSEED False").status is Status.ACCEPTED


def test_only_the_interpreters_own_library_is_importable(judge: Judge) -> None:
    program = (
        "import sys\nfor name in ('reforge.types', 'reforge.config', 'pydantic', 'pip', 'sitecustomize'):\n"
        "    try: __import__(name); print(name)\n    except ImportError: pass\nprint(sys.flags.no_site, 'end')"
    )
    assert printed(judge, program, "1 end").status is Status.ACCEPTED


@pytest.mark.skipif(os.geteuid() != 0, reason="without privileges to give up, a parent of the same user stays readable")
@pytest.mark.parametrize("entry", ["environ", "mem", "maps", "fd/0", "root/etc/hostname", "cwd/pyproject.toml"])
def test_the_parent_cannot_be_looked_into(judge: Judge, entry: str) -> None:
    program = f"import os\ntry:\n    open('/proc/%d/{entry}' % os.getppid(), 'rb')\n    print('open')\n"
    verdict = printed(judge, program + "except PermissionError:\n    print('refused')", "refused")
    assert verdict.status is Status.ACCEPTED, verdict.reason


def test_the_evaluator_cannot_be_looked_into(judge: Judge) -> None:
    """It holds the tests. Its memory is refused to the program; so is that of any process of this package."""
    program = """
import os
def f(x):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"tests" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0"):
                found.append(pid)
        except OSError:
            pass
    if not found:
        return "no evaluator"
    for pid in found:
        for entry in ("mem", "maps", "environ"):
            try:
                open(f"/proc/{pid}/{entry}", "rb").read(1)
                return "open"
            except PermissionError:
                pass
    return "refused"
"""
    problem = Problem("peek", "", "", (TestCase("assert", "assert f(1) == 'refused', f(1)"),), entry_point="f")
    verdict = judge.judge(program, problem)
    assert verdict.status is Status.ACCEPTED, verdict.reason


def test_each_program_has_an_empty_folder_of_its_own(judge: Judge) -> None:
    program = "import os\nprint(len(os.listdir()), oct(os.stat('.').st_mode & 0o777))\nopen('left', 'w').write('x')"
    for comment in ("# first", "# second"):
        assert printed(judge, f"{program}{comment}", "0 0o700").status is Status.ACCEPTED


def test_nothing_runs_after_the_verdict(judge: Judge, tmp_path: Path) -> None:
    """A thread left behind by a function that has answered would go on writing."""
    beat = tmp_path / "beat"
    program = (
        "import threading, time\ndef run():\n    while True:\n"
        f"        open({str(beat)!r}, 'a').write('x')\n        time.sleep(0.01)\n"
        "threading.Thread(target=run).start()\ntime.sleep(0.1)\ndef f(x): return x"
    )
    problem = Problem("thread", "", "", (TestCase("call", "[1]", "1"),), entry_point="f")
    assert judge.judge(program, problem).status is Status.ACCEPTED
    size = beat.stat().st_size
    assert size > 0
    time.sleep(0.1)
    assert beat.stat().st_size == size
