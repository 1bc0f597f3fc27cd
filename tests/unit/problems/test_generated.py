"""Generated problems: what each holds is true of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import islice, pairwise

import pytest

from reforge.problems.generated import function_of, generate
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


def slips(problem: Problem) -> dict[str, str]:
    """Programs in which one line is left out, by that line; a line that changes the kind of `x` stays."""
    lines = problem.solution.splitlines()
    kinds = [line.partition(":")[0] for line in problem.thinking.splitlines()]
    names = [OPERATION_OF[name] for name in problem.family.split("+")]
    assert kinds == [operation.takes for operation in names]
    return {
        lines[at + 1]: "\n".join([*lines[: at + 1], *lines[at + 2 :]])
        for at, operation in enumerate(names)
        if operation.takes == operation.gives
    }


_RNG = random.Random("fresh")
FRESH = {
    "list": [[_RNG.randint(-9, 20) for _ in range(_RNG.randint(4, 10))] for _ in range(60)],
    "string": ["".join(_RNG.choice("abcdeiouABEIrst") for _ in range(_RNG.randint(4, 10))) for _ in range(60)],
    "number": [_RNG.randint(10, 99999) for _ in range(60)],
}
OPERATION_OF = {operation.name: operation for operations in OPERATIONS.values() for operation in operations}


def passes(program: str, problem: Problem) -> bool:
    scope: dict = {}
    exec(program, scope)
    return all(scope["solve"](*json.loads(case.input)) == json.loads(case.expected) for case in problem.tests)


def test_no_operation_can_be_left_out_unnoticed(problems: list[Problem]) -> None:
    tried = [(problem, line, program) for problem in problems for line, program in slips(problem).items()]
    assert len(tried) > 500
    assert [(problem.id, line) for problem, line, program in tried if passes(program, problem)] == []


def test_two_neighbours_swapped_are_noticed_where_that_changes_anything_on_fresh_inputs(problems) -> None:
    noticed: list[bool] = []
    for problem in problems:
        lines, names = problem.solution.splitlines(), problem.family.split("+")
        of_kind = {name: (OPERATION_OF[name].takes, OPERATION_OF[name].gives) for name in names}
        for at, (one, other) in enumerate(pairwise(names), 1):
            kinds = {kind for name in (one, other) for kind in of_kind[name]}
            swapped = "\n".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]])
            wrong = replace(problem, solution=swapped)
            fresh = FRESH[of_kind[names[0]][0]]
            if len(kinds) == 1 and any(solve(wrong, value) != solve(problem, value) for value in fresh):
                noticed.append(not passes(swapped, problem))
    assert len(noticed) > 200
    assert sum(noticed) / len(noticed) > 0.99


@pytest.mark.parametrize("off", [1, -1])
def test_a_constant_off_by_one_is_noticed_where_it_changes_anything_on_fresh_inputs(problems, off: int) -> None:
    noticed: list[bool] = []
    for problem in problems:
        lines = problem.solution.splitlines()
        for at, step in enumerate(problem.id.removeprefix("generated/").split("+"), 1):
            operation, k = OPERATION_OF[step.rstrip("0123456789")], step.lstrip("abcdefghijklmnopqrstuvwxyz.")
            if not operation.has_constant:
                continue
            assert lines[at] == f"    {operation.code.format(k=k)}"
            slip = "\n".join([*lines[:at], f"    {operation.code.format(k=int(k) + off)}", *lines[at + 1 :]])
            wrong = replace(problem, solution=slip)
            kind = OPERATION_OF[problem.family.split("+")[0]].takes
            if any(solve(wrong, value) != solve(problem, value) for value in FRESH[kind]):
                noticed.append(not passes(slip, problem))
    assert len(noticed) > 200
    assert sum(noticed) / len(noticed) > 0.99  # a slip that matters on very few inputs can stay unseen


def test_no_two_problems_compute_the_same_function() -> None:
    """The oracle is different inputs; difficulties drawn apart share what has been computed."""
    computed: set[str] = set()
    streams = [generate([difficulty], 8, seed=difficulty, computed=computed) for difficulty in (1, 2, 3, 5, 7)]
    found = [problem for stream in streams for problem in islice(stream, 150)]
    seen: dict[str, str] = {}
    for problem in found:
        kind = OPERATION_OF[problem.family.split("+")[0]].takes
        said = kind + json.dumps([solve(problem, value) for value in FRESH[kind]])
        assert said not in seen, (problem.id, seen[said])
        seen[said] = problem.id


def test_what_was_computed_elsewhere_is_not_made_again() -> None:
    apart = {problem.family for problem in islice(generate([2], 8, seed=0), 60)}
    reverse_and_sort = [(OPERATION_OF["list.reverse"], 2), (OPERATION_OF["list.sort"], 3)]
    assert function_of(reverse_and_sort) == function_of(reverse_and_sort[1:])  # what sorting does alone
    assert "list.reverse+list.sort" not in apart
