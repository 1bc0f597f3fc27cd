"""Verdicts are stored with the rollouts, so the same program must get the same one, letter by letter."""

from reforge.records import Problem, Status, TestCase, Verdict
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=5.0, wall_seconds=20.0, memory_mb=512, output_kb=64)


def problem(*tests: TestCase) -> Problem:
    return Problem("p", "", "", tests, entry_point="solve")


def judged_anew(program: str, problem: Problem) -> Verdict:
    """By a judge of its own: no cache in between."""
    with Judge(LIMITS, 1) as judge:
        return judge.judge(program, problem)


def test_reasons_name_no_address_and_no_temporary_folder():
    program = "import os\ndef solve(x):\n    raise ValueError(f'{object()} in {os.getcwd()}')\n"
    verdicts = [judged_anew(program, problem(TestCase("call", "[1]", "1"))) for _ in range(2)]
    assert verdicts[0].reason == verdicts[1].reason
    assert "object at 0x…" in verdicts[0].reason


def test_tests_that_draw_inputs_draw_the_same_ones_each_time():
    test = TestCase("assert", "import random\nassert solve(random.random()) == 'never'")
    program = "def solve(x):\n    raise ValueError(x)\n"
    reasons = {judged_anew(program, problem(test)).reason for _ in range(2)}
    assert len(reasons) == 1
    assert "0.844421" in reasons.pop()  # the first of random.seed(0)


def test_a_program_cannot_have_the_kernel_signal_another_process():
    """fcntl F_SETOWN + F_SETSIG would get around the filter on kill."""
    program = "import fcntl, os\ndef solve(x):\n    fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())\n    return 1\n"
    verdict = judged_anew(program, problem(TestCase("call", "[1]", "1")))
    assert verdict.status is Status.RUNTIME_ERROR
    assert "PermissionError" in verdict.reason
