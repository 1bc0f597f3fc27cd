"""Adapters of sets for evaluation whose problems have one final answer and no program: GSM8K, MATH, AIME.

An answer counts by what it says, not by its words: math-verify compares them, in the sandbox, since both may come from
anyone. It must be among `sandbox.packages`, as the configurations of these sets have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reforge.problems.adapters.fields import UnusableRow, digest, text
from reforge.records import Checker, Problem, TestCase
from reforge.sandbox.boxed import boxed

_MARK = "####"
_GRADES = ("1", "2", "3", "4", "5")
_PROGRAM = ("spelled.py", "equal.py")
_IMPORTS = re.compile(r"^from (?:reforge|__future__)[\w.]* import (?:\([^)]*\)|.*)\n", re.MULTILINE)


def _one_program() -> str:
    """Return the checker as the sandbox needs it: its files in one, without imports of this package."""
    files = (Path(__file__).with_name(name).read_text() for name in _PROGRAM)
    return "\n".join(_IMPORTS.sub("", text) for text in files)


_EQUAL = _one_program()


def gsm8k(row: Mapping[str, Any]) -> Problem:
    """Read a row of openai/grade-school-math. It numbers no rows: a digest tells the questions apart. The answer
    follows after ####."""
    question, worked = text(row, "question"), text(row, "answer")
    thinking, mark, answer = worked.rpartition(_MARK)
    if not mark or not answer.strip():
        raise UnusableRow(f"no reference: answer does not end with {_MARK} and a number")
    return _problem(f"gsm8k/{digest(question)}", question, answer, thinking.strip())


def math(row: Mapping[str, Any]) -> Problem:
    """Read a row of hendrycks/math or MATH-500. The answer is `answer`, or what the solution has in its last box."""
    problem, worked = text(row, "problem"), str(row.get("solution") or "")
    answer = text(row, "answer") if row.get("answer") else boxed(worked)
    if not answer:
        raise UnusableRow("no reference: there is no answer, and nothing boxed in the solution")
    name = str(row.get("unique_id") or digest(problem))
    grade = str(row.get("level") or row.get("difficulty") or "").removeprefix("Level ").removesuffix(".0")
    return _problem(f"math/{name}", problem, answer, worked, int(grade) if grade in _GRADES else 0)


def aime(row: Mapping[str, Any]) -> Problem:
    """Read a row of AIME as HuggingFaceH4/aime_2024 has it: the answer is an integer from 0 to 999, sometimes with
    leading zeros."""
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
