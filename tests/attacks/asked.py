"""Programs that a judge is asked about, in one line."""

from reforge.records import Problem, TestCase, Verdict
from reforge.sandbox.judge import Judge


def printed(judge: Judge, program: str, expected: str) -> Verdict:
    return judge.judge(program, Problem("attack", "", "", (TestCase("stdin", "", expected),)))


def called(judge: Judge, body: str) -> Verdict:
    return judge.judge(f"def f(x):\n    {body}", Problem("f", "", "", (TestCase("call", "[1]", "1"),), entry_point="f"))
