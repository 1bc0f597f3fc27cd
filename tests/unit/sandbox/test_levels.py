"""What a judge promises about isolation, time and lost servers."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reforge.errors import UserError
from reforge.records import Checker, Problem, Status, TestCase
from reforge.sandbox.isolation import LANDLOCK, LAYERS, NAMESPACES, SECCOMP, Isolation, level_of, warning_of
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=0.4, wall_seconds=5.0, memory_mb=256, output_kb=64)
ECHO = Problem("echo", "", "", (TestCase("stdin", "1", "1"),))


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(LIMITS, workers=2, packages=["numpy"]) as judge:
        yield judge


@pytest.mark.parametrize(
    ("layers", "level"),
    [
        (LAYERS, Isolation.FULL),
        ((LANDLOCK, SECCOMP), Isolation.FILES),
        ((NAMESPACES, SECCOMP), Isolation.FILES),
        ((SECCOMP,), Isolation.SYSCALLS),
        ((NAMESPACES, LANDLOCK), Isolation.LIMITS),  # without the filter a program can start others that escape
        ((), Isolation.LIMITS),
    ],
)
def test_levels(layers: tuple[str, ...], level: Isolation) -> None:
    assert level_of(layers) is level


def test_what_programs_can_read_is_said_where_nothing_hides_files(caplog: pytest.LogCaptureFixture) -> None:
    for layers in (LAYERS, (LANDLOCK, SECCOMP), (NAMESPACES, SECCOMP), (NAMESPACES, LANDLOCK)):
        assert warning_of(layers, False, True) == ""
    assert "memory of the judge" in warning_of((SECCOMP,), False, False)
    assert warning_of((SECCOMP,), True, True) == "programs can read whatever root may"
    assert warning_of((), True, False) == "programs can read whatever every user may"
    with Judge(LIMITS, workers=1, layers=(SECCOMP,)):
        assert "programs" in caplog.text
    caplog.clear()
    with Judge(LIMITS, workers=1, layers=(LANDLOCK, SECCOMP)) as judge:
        assert ("programs" in caplog.text) == (judge.isolation < Isolation.FILES)


def test_a_judge_refuses_to_start_below_its_minimum() -> None:
    with pytest.raises(UserError, match=r"level 'syscalls'.*asks for 'full'"):
        Judge(LIMITS, 1, minimum=Isolation.FULL, layers=(SECCOMP,))


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match="no_such_package"):
        Judge(LIMITS, 1, packages=["no_such_package"])


def test_every_verdict_says_how_it_was_judged(judge: Judge) -> None:
    verdict = judge.judge("print(input())", ECHO)
    assert verdict.status is Status.ACCEPTED
    assert verdict.isolation == judge.isolation.label
    assert verdict.interpreter == f"cpython {sys.version.split()[0]}"
    assert verdict.checker == "tokens(1e-06)/2"
    assert len(verdict.key) == 64
    assert 0 < verdict.cpu_seconds < 0.4
    assert verdict.wall_seconds > 0
    assert 1000 < verdict.memory_kb < 256 * 1024


def test_packages_are_importable_and_their_neighbours_are_not(judge: Judge) -> None:
    program = "import numpy as np\nassert np.random.rand() == 0.5488135039273248\nprint(int(np.ones(1).sum()))\n"
    assert judge.judge(program, ECHO).status is Status.ACCEPTED
    for neighbour in ("torch", "pydantic", "pip"):
        verdict = judge.judge(f"import {neighbour}\nprint(1)", ECHO)
        assert verdict.status is Status.RUNTIME_ERROR
        assert "ModuleNotFoundError" in verdict.reason


def test_an_ordinary_user_gets_the_same_level(tmp_path: Path) -> None:
    """A copy of the interpreter's folder that this user may read stands for a machine where it is installed for all."""
    if os.geteuid() != 0:
        pytest.skip("this is an ordinary user already")
    source = Path(__file__).resolve().parents[3] / "src"
    code = (
        "import sys; sys.path.insert(0, '/mnt/source')\n"
        "from reforge.sandbox.judge import Judge, Limits\nfrom reforge.records import Problem, TestCase\n"
        "with Judge(Limits(2.0, 20.0, 256, 64), 1) as judge:\n"
        "    p = Problem('p', '', '', (TestCase('stdin', '1', '1'),))\n"
        "    print(judge.isolation.label, judge.refused, judge.judge('print(input())', p).status)\n"
    )
    script = (
        f"mount -t tmpfs none /mnt && mkdir /mnt/python /mnt/source && mount --bind {source} /mnt/source && "
        f"mount --bind {sys.base_prefix} /mnt/python && chmod 755 /mnt /mnt/python /mnt/source && "
        f"exec setpriv --reuid 1234 --regid 1234 --clear-groups env -i TMPDIR=/tmp "
        f'/mnt/python/bin/python{sys.version_info[0]}.{sys.version_info[1]} -I -c "$0"'
    )
    done = subprocess.run(["unshare", "-m", "bash", "-c", script, code], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    with Judge(LIMITS, 1) as judge:
        assert done.stdout == f"{judge.isolation.label} {{}} AC\n", done.stderr


def test_the_servers_end_with_the_process_that_started_them() -> None:
    code = (
        "from reforge.sandbox.judge import Judge, Limits\nfrom reforge.records import Problem, TestCase\n"
        "judge = Judge(Limits(9.0, 60.0, 256, 64), 1)\n(server,) = judge._fleet._folders\n"
        "print(server._process.pid, flush=True)\n"
        "judge.judge('while True: pass', Problem('p', '', '', (TestCase('stdin', '', ''),)))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        mates = _descendants(pid)
        assert mates  # the program, at least
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 600
    while any(Path(f"/proc/{mate}").exists() for mate in [pid, *mates]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [mate for mate in [pid, *mates] if Path(f"/proc/{mate}").exists()]


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [other for child in children for other in _descendants(child)]


# --- time ---------------------------------------------------------------------------------------------------------


def test_the_budget_bounds_all_tests_together() -> None:
    program = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass\nprint(1)"
    many = Problem("many", "", "", tuple(TestCase("stdin", "1", "1") for _ in range(30)))
    with Judge(Limits(0.4, 5.0, 256, 64, budget_seconds=0.5), 1) as judge:
        verdict = judge.judge(program, many)
    assert verdict.status is Status.TIME_LIMIT
    assert "all tests together" in verdict.reason
    assert verdict.test_index < 10


WORK = (
    "import time\ndef f(x):\n    end = time.process_time() + x\n    while time.process_time() < end: pass\n    return x"
)


def calls(*seconds: float) -> Problem:
    return Problem("calls", "", "", tuple(TestCase("call", f"[{x}]", f"{x}") for x in seconds), entry_point="f")


def test_each_call_has_the_limit_of_a_test() -> None:
    """Eight calls of 0.15 s take longer than one may; each is in time."""
    with Judge(Limits(1.0, 20.0, 256, 64), 1) as judge:
        verdict = judge.judge(WORK, calls(*[0.15] * 8))
    assert (verdict.status, verdict.reason) == (Status.ACCEPTED, "")
    assert 0.15 <= verdict.cpu_seconds < 1.0


def test_a_call_over_its_limit_is_named_whatever_the_others_took() -> None:
    with Judge(Limits(0.5, 20.0, 256, 64), 1) as judge:
        verdict = judge.judge(WORK, calls(0.1, 0.1, 60.0, 0.1))
    assert (verdict.status, verdict.test_index) == (Status.TIME_LIMIT, 2)
    assert verdict.cpu_seconds < 10


def test_the_budget_bounds_all_calls_together() -> None:
    with Judge(Limits(0.5, 20.0, 256, 64, budget_seconds=0.6), 1) as judge:
        verdict = judge.judge(WORK, calls(*[0.15] * 30))
    assert verdict.status is Status.TIME_LIMIT
    assert "all tests together" in verdict.reason
    assert verdict.test_index < 15


# --- problems -----------------------------------------------------------------------------------------------------


def test_files_lie_beside_the_program(judge: Judge) -> None:
    problem = Problem("p", "", "", ECHO.tests, files=(("lib/helper.py", "ONE = 1"), ("data.txt", "1")))
    program = "from lib.helper import ONE\nassert open('data.txt').read() == str(ONE)\nprint(ONE)"
    assert judge.judge(program, problem).status is Status.ACCEPTED
    assert judge.judge(program, ECHO).status is Status.RUNTIME_ERROR
    for name in ("../x", "/etc/x", ""):
        with pytest.raises(UserError, match="must lie in the program's folder"):
            judge.judge(program, Problem("p", "", "", ECHO.tests, files=((name, ""),)))


@pytest.mark.parametrize("entry", ["f", "Solution.f"])
def test_methods_of_a_class_solution(judge: Judge, entry: str) -> None:
    problem = Problem("p", "", "", (TestCase("call", "[1]", "1"), TestCase("call", "[1]", "1")), entry_point=entry)
    fresh = "class Solution:\n    seen = 0\n    def f(self, x):\n        self.seen += 1\n        return self.seen"
    assert judge.judge(fresh, problem).status is Status.ACCEPTED
    assert "does not define" in judge.judge("class Solution: pass", problem).reason


DIVIDES = "def check(given, expected, output):\n    n, d = int(given), int(output)\n    return 1 < d < n and n % d == 0"
CHECKED = Problem(
    id="any divisor",
    statement="",
    solution="",
    tests=(TestCase("stdin", "12", "2"), TestCase("stdin", "35", "5")),
    checker=Checker("program", source=DIVIDES),
)


def test_a_problem_s_own_checker(judge: Judge) -> None:
    assert judge.judge("print(3 if input() == '12' else 7)", CHECKED).status is Status.ACCEPTED
    assert judge.judge("print(5)", CHECKED).status is Status.WRONG_ANSWER
    verdict = judge.judge("print('x')", CHECKED)
    assert verdict.status is Status.WRONG_ANSWER  # else printing rubbish would buy a verdict that is not scored
    assert "could not use it: ValueError" in verdict.reason


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def check(input): undefined(\n", "SyntaxError"),
        ("def check(given, expected, output):\n    while True: pass", "CPU time"),
        ("def check(given, expected, output): return 'no'", "it returned a value of type str, not True or False"),
        ("def check(given): return True", "TypeError"),
    ],
)
def test_a_checker_that_fails_at_the_expected_answer_too_is_broken(judge: Judge, source: str, said: str) -> None:
    verdict = judge.judge("print(5)", dataclasses.replace(CHECKED, checker=Checker("program", source=source)))
    assert (verdict.status, verdict.conclusive) == (Status.BROKEN_TEST, False)
    assert said in verdict.reason


def test_the_program_cannot_reach_the_checker(judge: Judge) -> None:
    forged = (
        "import os\nfor d in range(3, 64):\n    try: os.write(d, b'{\"value\": true}\\n')\n    except OSError: pass"
    )
    assert judge.judge(forged, CHECKED).status is not Status.ACCEPTED
