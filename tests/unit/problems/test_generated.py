"""Generated problems: what each holds is true of it."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from reforge.problems.generated import generate
from reforge.problems.operations import OPERATIONS
from reforge.records import Problem

EXAMPLES = {"list": [3, -1, 4, 1, 12, 4], "string": "aBcida", "number": 407}


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return list(islice(generate([1, 2, 3, 5, 8], 8, seed=0), 300))


def solve(problem: Problem, value: object) -> object:
    scope: dict = {}
    exec(problem.solution, scope)
    return scope["solve"](value)


def test_the_reference_gives_what_the_tests_expect(problems: list[Problem]) -> None:
    for problem in problems:
        for case in problem.tests:
            assert solve(problem, *json.loads(case.input)) == json.loads(case.expected)


def test_ids_are_distinct_and_difficulty_is_the_number_of_operations(problems: list[Problem]) -> None:
    assert len({problem.id for problem in problems}) == len(problems)
    for problem in problems:
        operations = problem.solution.count("x = ")
        assert problem.difficulty == operations == len(problem.family.split("+"))
        assert len(problem.thinking.splitlines()) == len(problem.statement.splitlines()) - 1 == operations


def test_each_problem_has_distinct_tests_that_no_constant_passes(problems: list[Problem]) -> None:
    for problem in problems:
        assert len({case.input for case in problem.tests}) == 8
        assert len({case.expected for case in problem.tests}) >= 4


def test_equal_seeds_give_equal_problems(problems: list[Problem]) -> None:
    assert list(islice(generate([1, 2, 3, 5, 8], 8, seed=0), 300)) == problems
    assert list(islice(generate([1, 2, 3, 5, 8], 8, seed=1), 300)) != problems


@pytest.mark.parametrize("operation", [op for ops in OPERATIONS.values() for op in ops], ids=lambda op: op.name)
def test_an_operation_gives_the_kind_that_it_says(operation) -> None:
    scope: dict = {"x": EXAMPLES[operation.takes]}
    exec(operation.code.format(k=3), scope)
    assert type(scope["x"]) is type(EXAMPLES[operation.gives])


def test_within_a_kind_no_words_mean_two_things() -> None:
    for kind, operations in OPERATIONS.items():
        phrases = [phrase for operation in operations for phrase in operation.phrases]
        assert len(set(phrases)) == len(phrases), kind
