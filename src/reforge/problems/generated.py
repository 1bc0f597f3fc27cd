"""Compositional problems made from a seed: the default problem set, so that a first run needs no data.

A problem is a walk of d operations over a list, a string or a number. Its family is the sequence of operation names
(constants and wording aside), so splitting by family leaves held-out problems no composition of the training ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

from reforge.problems.operations import OPERATIONS, Kind, Operation
from reforge.records import Problem, TestCase

_NAMES: dict[Kind, str] = {"list": "a list of integers", "string": "a string", "number": "a non-negative integer"}
_EXHAUSTED = 300  # this many draws in a row without a new problem: the difficulty has no more to give
_LONGEST = 300  # characters of an expected value, in its JSON form
_DRAWS = 6  # inputs drawn per wanted test, to end up with enough distinct ones


def generate(difficulties: Sequence[int], tests_per_problem: int, seed: int) -> Iterator[Problem]:
    """Yield distinct problems, difficulties in turn; this ends when every difficulty is exhausted."""
    rng = random.Random(seed)
    left = dict.fromkeys(difficulties, 0)
    seen: set[str] = set()
    while left:
        for difficulty in list(left):
            problem = _draw(difficulty, tests_per_problem, rng)
            if problem is not None and problem.id not in seen:
                seen.add(problem.id)
                left[difficulty] = 0
                yield problem
                continue
            left[difficulty] += 1
            if left[difficulty] >= _EXHAUSTED:
                del left[difficulty]


def _draw(difficulty: int, tests: int, rng: random.Random) -> Problem | None:
    """Return one problem, or None where the walk is degenerate (overflowing, or nearly constant in its input)."""
    start: Kind = rng.choice(("list", "list", "string", "number"))
    walk, constants = _walk(start, difficulty, rng)
    lines = [op.code.format(k=k) for op, k in zip(walk, constants, strict=True)]
    solution = "\n".join(["def solve(x):", *(f"    {line}" for line in lines), "    return x"]) + "\n"
    cases = _cases(solution, start, tests, rng)
    if cases is None:
        return None
    steps = list(zip(walk, constants, strict=True))
    phrases = [rng.choice(op.phrases).format(k=k) for op, k in steps]
    return Problem(
        id="generated/" + "+".join(f"{op.name}{k if op.has_constant else ''}" for op, k in steps),
        statement=f"Write solve(x) for {_NAMES[start]}:\n" + "\n".join(phrases),
        solution=solution,
        tests=cases,
        entry_point="solve",
        thinking=_think(walk, constants),
        difficulty=difficulty,
        family="+".join(op.name for op in walk),
    )


def _walk(start: Kind, difficulty: int, rng: random.Random) -> tuple[list[Operation], list[int]]:
    walk: list[Operation] = []
    kind = start
    while len(walk) < difficulty:
        op = rng.choice(OPERATIONS[kind])
        if walk and op.name == walk[-1].name:
            continue  # the same operation twice in a row is rarely a new problem
        walk.append(op)
        kind = op.gives
    return walk, [rng.randint(2, 5) for _ in walk]


def _think(walk: list[Operation], constants: list[int]) -> str:
    """Return one line a step: what `x` is by then, and what is done to it."""
    return "\n".join(f"{op.takes}: {op.phrases[0].format(k=k)}" for op, k in zip(walk, constants, strict=True))


def _cases(solution: str, start: Kind, wanted: int, rng: random.Random) -> tuple[TestCase, ...] | None:
    """Return distinct inputs with the reference's answers, at least half of the answers distinct; None where that
    fails."""
    scope: dict[str, object] = {}
    exec(solution, scope)  # our own text, made from OPERATIONS above
    solve = scope["solve"]
    assert callable(solve)
    cases: dict[str, str] = {}
    for _ in range(wanted * _DRAWS):
        value = _input(start, rng)
        expected = json.dumps(solve(value))
        if len(expected) > _LONGEST:
            return None
        cases[json.dumps([value])] = expected
        if len(cases) == wanted:
            break
    if len(cases) < wanted or len(set(cases.values())) * 2 < wanted:
        return None
    return tuple(TestCase("call", input=given, expected=expected) for given, expected in cases.items())


def _input(kind: Kind, rng: random.Random) -> object:
    if kind == "list":
        return [rng.randint(-9, 20) for _ in range(rng.randint(4, 10))]
    if kind == "string":
        return "".join(rng.choice("abcdeiouABEIrst") for _ in range(rng.randint(4, 10)))
    return rng.randint(10, 99999)
