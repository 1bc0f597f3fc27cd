"""Which training problems keep their worked solutions."""

from __future__ import annotations

import pytest

from reforge.config.problems import Worked
from reforge.errors import UserError
from reforge.problems.worked import hide_solutions
from reforge.records import Problem, TestCase

GRADES = [1, 2, 3, 1, 2, 1]
PROBLEMS = [
    Problem(f"p{place}", "Do it.", "pass", (TestCase("call", "[1]", "1"),), thinking="so", difficulty=grade)
    for place, grade in enumerate(GRADES)
]


def test_the_first_of_these_difficulties_keep_them_and_nothing_else_changes() -> None:
    hidden = hide_solutions(PROBLEMS, Worked(difficulties=[1, 2], count=3))
    assert [bool(problem.solution) for problem in hidden] == [True, True, False, True, False, False]
    assert [problem.thinking for problem in hidden] == ["so", "so", "", "so", "", ""]
    assert [problem.id for problem in hidden] == [problem.id for problem in PROBLEMS]
    assert all(problem.tests == PROBLEMS[0].tests for problem in hidden)


def test_too_few_are_named() -> None:
    with pytest.raises(UserError, match=r"6 training problems of the difficulties \[1, 2\] .* 5 have one"):
        hide_solutions(PROBLEMS, Worked(difficulties=[1, 2], count=6))
