"""LiveCodeBench's rules for programs, beside those for their outputs (test_checkers.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reforge.records import Checker, Problem, Status, TestCase, Verdict
from reforge.sandbox import lcb
from reforge.sandbox.judge import Judge, Limits

LCB = Checker("lcb")
TOKENS = Checker()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(Limits(5.0, 20.0, 512, 64), 1) as it:
        yield it


def printed(judge: Judge, program: str, checker: Checker = LCB, given: str = "3\n", expected: str = "3") -> Verdict:
    return judge.judge(program, Problem("p", "", "", (TestCase("stdin", given, expected),), checker=checker))


def called(judge: Judge, program: str, checker: Checker = LCB) -> Verdict:
    tests = (TestCase("call", "[[1, 5, 2]]", "5"),)
    return judge.judge(program, Problem("p", "", "", tests, entry_point="f", checker=checker))


@pytest.mark.parametrize(
    ("program", "by_lcb", "by_tokens"),
    [
        ("print(gcd(int(input()), 6))", "AC", "RE"),  # from math import *
        ("x: List[int] = [int(stdin.readline())]\nprint(x[0])", "AC", "RE"),
        ("print(collections.Counter('aaa')['a'])", "AC", "RE"),
        ("print(int(input()))\nsys.exit(1)", "AC", "RE"),
        ("print(int(input()))\nexit('done')", "AC", "RE"),
        ("def main():\n    print(3)\n    raise SystemExit(2)\nmain()", "AC", "RE"),
        ("n = int(input())\nif n:\n    print(n)\n    return\nprint(0)", "AC", "CE"),
        ("if __name__ == '__main__':\n    print(3)", "AC", "AC"),
        ("from __future__ import annotations\nprint(3)", "AC", "AC"),
        ("def f(n): return n and 1 + f(n - 1)\nprint(f(3000) - 2997)", "AC", "RE"),
        ("open = None\nprint(3)", "AC", "AC"),
        ("print(3)\nraise ValueError", "RE", "RE"),
        ("import os\nprint(3, flush=True)\nos._exit(1)", "RE", "RE"),
        ("print(3", "CE", "CE"),
        ("print('3.0')", "AC", "WA"),
    ],
)
def test_programs_that_print(judge: Judge, program: str, by_lcb: str, by_tokens: str) -> None:
    assert str(printed(judge, program).status) == by_lcb
    assert str(printed(judge, program, TOKENS).status) == by_tokens


@pytest.mark.parametrize(
    ("program", "by_lcb"),
    [
        ("class Solution:\n    def f(self, nums: List[int]) -> int:\n        return max(nums)", "AC"),
        ("def f(nums: Optional[List[int]]): return reduce(max, nums)", "AC"),
        ("def f(nums): return [max(nums)]", "WA"),
        ("def f(nums): sys.exit(0)", "RE"),  # not minded at the end only
        ("return 1", "CE"),
    ],
)
def test_programs_that_are_called(judge: Judge, program: str, by_lcb: str) -> None:
    assert str(called(judge, program).status) == by_lcb


def test_without_the_rule_there_is_no_preamble(judge: Judge) -> None:
    program = "class Solution:\n    def f(self, nums: List[int]) -> int:\n        return max(nums)"
    assert called(judge, program, TOKENS).status is Status.RUNTIME_ERROR


def test_lines_of_errors_are_the_program_s_own(judge: Judge) -> None:
    assert "line 2" in printed(judge, "x = 1\nprint(3").reason


def test_a_program_that_returns_becomes_a_function_and_keeps_its_imports() -> None:
    names: dict[str, object] = {}
    exec(lcb.compiled("import math\nx = math.pi\nif x: return\nraise ValueError", "p.py"), names)
    assert "math" in names
    assert "x" not in names


def test_what_the_preamble_imports_is_nobodys_entry_point(judge: Judge) -> None:
    """`from operator import *` brings an `add`: a method of that name is still the one that is called."""
    problem = Problem("p", "", "", (TestCase("call", "[2, 3]", "5"),), entry_point="add", checker=LCB)
    assert judge.judge("class Solution:\n    def add(self, a, b): return a + b", problem).status is Status.ACCEPTED
    assert judge.judge("class Solution:\n    def add(self, a, b): return 0", problem).status is Status.WRONG_ANSWER
    assert judge.judge("def add(a, b): return a + b", problem).status is Status.ACCEPTED
    assert judge.judge("x = 1", problem).status is Status.RUNTIME_ERROR
