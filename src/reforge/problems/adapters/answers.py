"""Sets whose problems have one final answer and no program: GSM8K, MATH, AIME. For evaluation.

An answer counts by what it says, not by its words: math-verify compares them, in the sandbox, since both may come from
anyone. It must be among `sandbox.packages`, as the configurations of these sets have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reforge.problems.adapters.fields import UnusableRow, digest, text
from reforge.sandbox.boxed import boxed
from reforge.types import Checker, Problem, TestCase

_MARK = "####"
_GRADES = ("1", "2", "3", "4", "5")
_EQUAL = r'''
import re
from math_verify import parse, verify

_NAMED = re.compile(r"\s*[A-Za-z](_\w+|_\{\w+\})?(\([A-Za-z]\))?\s*=[^=]*")

def check(given, expected, answer):
    """Neither `17 = 18` nor `17 or 18` says 18: what stands before an equals sign may only name the answer."""
    if re.search(r"\bor\b", answer) and not re.search(r"\bor\b", expected):
        return False
    if "=" in answer and "=" not in expected and not _NAMED.fullmatch(answer):
        return False
    gold, found = (parse(f"\\boxed{{{said}}}", parsing_timeout=None) for said in (expected, answer))
    return bool(verify(gold, found, timeout_seconds=None))
'''


def gsm8k(row: Mapping[str, Any]) -> Problem:
    """openai/grade-school-math numbers no rows: a digest tells the questions apart. The answer follows after ####."""
    question, worked = text(row, "question"), text(row, "answer")
    thinking, mark, answer = worked.rpartition(_MARK)
    if not mark or not answer.strip():
        raise UnusableRow(f"no reference: answer does not end with {_MARK} and a number")
    return _problem(f"gsm8k/{digest(question)}", question, answer, thinking.strip())


def math(row: Mapping[str, Any]) -> Problem:
    """hendrycks/math and MATH-500: `answer`, or what the solution has in its last box."""
    problem, worked = text(row, "problem"), str(row.get("solution") or "")
    answer = text(row, "answer") if row.get("answer") else boxed(worked)
    if not answer:
        raise UnusableRow("no reference: there is no answer, and nothing boxed in the solution")
    name = str(row.get("unique_id") or digest(problem))
    grade = str(row.get("level") or row.get("difficulty") or "").removeprefix("Level ").removesuffix(".0")
    return _problem(f"math/{name}", problem, answer, worked, int(grade) if grade in _GRADES else 0)


def aime(row: Mapping[str, Any]) -> Problem:
    """AIME as HuggingFaceH4/aime_2024 has it: an integer from 0 to 999, sometimes with leading zeros."""
    answer = row.get("answer")
    if not str(answer).strip().isdecimal():
        raise UnusableRow(f"no reference: answer is {answer!r:.50}, not a whole number")
    name = str(row.get("url") or row.get("id") or digest(text(row, "problem")))
    return _problem(f"aime/{name}", text(row, "problem"), str(int(str(answer))), str(row.get("solution") or ""))


def _problem(name: str, statement: str, answer: str, thinking: str, difficulty: int = 0) -> Problem:
    return Problem(
        id=name,
        statement=f"{statement}\n\nPut your final answer into \\boxed{{}}.",
        solution=answer.strip(),
        tests=(TestCase("answer", "", answer.strip()),),
        thinking=thinking,
        difficulty=difficulty,
        family=name,
        checker=Checker("program", source=_EQUAL),
    )
