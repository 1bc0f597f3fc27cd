"""Problems with one final answer: read as published, and compared by what the answers say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reforge.environments.template import worked_answer
from reforge.problems.adapters import UnusableRow, adapt
from reforge.records import Checker, Problem, Status, TestCase
from reforge.sandbox.judge import Judge, Limits

PACKAGES = ["math-verify", "latex2sympy2_extended", "sympy", "mpmath", "antlr4-python3-runtime"]
GSM8K = {"question": "Two and two?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"}
MATH = {"problem": "Solve.", "solution": "So \\boxed{1}, or \\boxed{\\frac{1}{2}}.", "level": "Level 3"}
AIME = {"id": 60, "problem": "Find it.", "answer": "073", "solution": "It is 73.", "url": "https://aops/1"}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(Limits(cpu_seconds=20.0, wall_seconds=60.0, memory_mb=1024, output_kb=64), 2, packages=PACKAGES) as it:
        yield it


@pytest.mark.parametrize(
    ("adapter", "row", "id", "answer", "difficulty"),
    [
        ("gsm8k", GSM8K, f"gsm8k/{digest('Two and two?')}", "4", 0),
        ("math", MATH, f"math/{digest('Solve.')}", "\\frac{1}{2}", 3),
        ("math", {"problem": "P", "answer": "7", "unique_id": "t/1", "difficulty": "2.0"}, "math/t/1", "7", 2),
        ("aime", AIME, "aime/https://aops/1", "73", 0),
        ("aime", {"problem": "P", "answer": 5}, f"aime/{digest('P')}", "5", 0),
    ],
)
def test_published_rows(adapter: str, row: dict[str, Any], id: str, answer: str, difficulty: int) -> None:
    problem = adapt(adapter, row)
    assert (problem.id, problem.solution, problem.difficulty) == (id, answer, difficulty)
    assert problem.tests == (TestCase("answer", "", answer),)
    assert problem.statement.endswith("\n\nPut your final answer into \\boxed{}.")
    assert worked_answer(problem).endswith(f"\\boxed{{{answer}}}")


@pytest.mark.parametrize(
    ("adapter", "row", "reason"),
    [
        ("gsm8k", {**GSM8K, "answer": "It is 4."}, "no reference"),
        ("gsm8k", {**GSM8K, "answer": "It is ####"}, "no reference"),
        ("math", {"problem": "P", "solution": "So it is 7."}, "no reference"),
        ("math", {"solution": "\\boxed{7}"}, "missing field: problem"),
        ("aime", {**AIME, "answer": "7.5"}, "no reference"),
        ("aime", {**AIME, "answer": None}, "no reference"),
    ],
)
def test_what_a_row_lacks_is_said(adapter: str, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRow, match=f"^{reason}"):
        adapt(adapter, row)


def asking(expected: str) -> Problem:
    problem = adapt("math", {"problem": "P", "answer": expected})
    return replace(problem, id=expected)


@pytest.mark.parametrize(
    ("expected", "answer", "right"),
    [
        ("18", "18", True),
        ("18", "18.00", True),
        ("18", "\\$18", True),
        ("18", "18 \\text{ cm}", True),
        ("18", "n = 18", True),
        ("18", "f(x) = 18", True),
        ("1,000", "1000", True),
        ("\\frac{1}{2}", "0.5", True),
        ("\\frac12", "1/2", True),
        ("x^2+1", "1+x^2", True),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)", True),
        ("x=5", "5", True),
        ("18", "17", False),
        ("18", "-18", False),
        ("18", "", False),
        ("18", "}", False),
        ("18", "17, 18", False),
        ("18", "17 or 18", False),
        ("18", "17 = 18", False),
        ("18", "x = 17 = 18", False),
        ("18", "17 \\text{ or } 18", False),
        ("18", "\\boxed{17} \\boxed{18}", False),
        ("(1,2)", "(2,1)", False),
        ("3", "9**9**9**9**9", False),
        ("3", "print(3)", False),
        ("3", "__import__('os').system('true') or 3", False),
    ],
)
def test_an_answer_counts_by_what_it_says(judge: Judge, expected: str, answer: str, right: bool) -> None:
    verdict = judge.judge(answer, asking(expected))
    assert verdict.status is (Status.ACCEPTED if right else Status.WRONG_ANSWER), verdict.reason


def test_without_its_packages_the_test_is_broken_and_not_the_answer_wrong() -> None:
    with Judge(Limits(5.0, 20.0, 256, 64), 1) as bare:
        verdict = bare.judge("7", asking("8"))
    assert verdict.status is Status.BROKEN_TEST
    assert "No module named 'math_verify'" in verdict.reason


def test_published_answers_are_equal_to_themselves(shared: Path, judge: Judge) -> None:
    """Every 25th of MATH-500 and every 60th of GSM8K's test half, and none to itself plus one."""
    found = json.loads((shared / "data/math500/math500_rllm.json").read_text())[::25]
    lines = (shared / "data/gsm8k/test.jsonl").read_text().splitlines()[::60]
    problems = [adapt("math", row) for row in found] + [adapt("gsm8k", json.loads(line)) for line in lines]
    assert len(problems) == 42
    verdicts = judge.judge_many([(problem.solution, problem) for problem in problems])
    assert [verdict.status for verdict in verdicts] == [Status.ACCEPTED] * 42
    wrong = [f"{problem.solution} + 1" for problem in problems]
    verdicts = judge.judge_many(list(zip(wrong, problems, strict=True)))
    assert [verdict.status for verdict in verdicts].count(Status.ACCEPTED) == 0


@pytest.mark.parametrize("answer", ["18", "x^2", "9^{9^{9^{9}}}", "(" * 400, "1" * 5000])
def test_an_answer_s_verdict_says_what_it_took(judge: Judge, answer: str) -> None:
    verdict = judge.judge(answer, asking("17.5"))
    assert verdict.status is Status.WRONG_ANSWER
    assert verdict.wall_seconds > 0
    assert verdict.cpu_seconds > 0


def test_no_limit_makes_an_answer_anything_but_wrong() -> None:
    """A checker that is ended from outside says nothing for the answer, as long as the expected one passes."""
    source = "def check(given, expected, answer):\n    while answer != expected: pass\n    return True"
    problem = Problem("p", "", "7", (TestCase("answer", "", "7"),), checker=Checker("program", source=source))
    with Judge(Limits(0.3, 20.0, 256, 64), 1) as judge:
        assert judge.judge("8", problem).status is Status.WRONG_ANSWER
        assert judge.judge("7", problem).status is Status.ACCEPTED
