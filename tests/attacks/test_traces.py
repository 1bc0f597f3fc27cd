"""No program finds traces of another, and each finds the same machine."""

from pathlib import Path

import pytest

from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Judge
from tests.attacks.asked import printed
from tests.attacks.gaps import TRACES_LEFT, documented
from tests.attacks.traces import TRACES


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
    """The processes have left their group and lost their parent, where programs can start any."""
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\n    os._exit(0)"
    )
    for number in range(3):
        printed(judge, f"# {number}\n{program}", "")
    (server,) = judge._fleet._folders
    for task in Path(f"/proc/{server._process.pid}/task").iterdir():
        children = (task / "children").read_text().split()
        assert len(children) <= (judge._fleet.layers[:1] == ("namespaces",))  # there, the server is one itself


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
