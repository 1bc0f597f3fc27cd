"""Compositional problems made from a seed: the default problem set, so that a first run needs no data.

A problem is a walk of d operations over a list, a string or a number. Its family is the sequence of operation names
(constants and wording aside); the split is by family, so no held-out problem has the operations of a training problem
in the same order. No two problems of a set compute the same function, as far as a fixed set of inputs shows, and each
operation of a walk matters. The tests of a problem fail programs that are one slip away from its reference (an
operation left out, two neighbours swapped, a constant one too high or too low) wherever the slip changes anything on
these inputs.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from reforge.problems.operations import OPERATIONS, Kind, Operation
from reforge.records import Problem, TestCase

Step = tuple[Operation, int]  # an operation and its constant
_NAMES: dict[Kind, str] = {"list": "a list of integers", "string": "a string", "number": "a non-negative integer"}
_EXHAUSTED = 300  # this many draws in a row without a new problem: the difficulty has no more to give
_LONGEST, _GREATEST = 80, 10**80  # a list or a string, and a number on the way
_DRAWS = 6  # inputs drawn per wanted test
_PROBES = 40  # inputs on which functions are compared


def generate(
    difficulties: Sequence[int], tests_per_problem: int, seed: int, computed: set[str] | None = None
) -> Iterator[Problem]:
    """Yield problems, difficulties in turn; this ends when every difficulty is exhausted. No problem computes a
    function that is in `computed` (`function_of`), where those of the problems are added."""
    rng = random.Random(seed)
    left = dict.fromkeys(difficulties, 0)
    computed = set() if computed is None else computed
    while left:
        for difficulty in list(left):
            start: Kind = rng.choice(("list", "list", "string", "number"))
            walk = _walk(start, difficulty, rng)
            problem = _problem(walk, tests_per_problem, rng)
            if problem is not None and (function := function_of(walk)) not in computed:
                computed.add(function)
                left[difficulty] = 0
                yield problem
                continue
            left[difficulty] += 1
            if left[difficulty] >= _EXHAUSTED:
                del left[difficulty]


def function_of(walk: Sequence[Step]) -> str:
    """Return a digest that walks share which give the same for a fixed set of inputs."""
    kind = walk[0][0].takes
    return hashlib.sha256(json.dumps([kind, [_result(walk, value) for value in _probes(kind)]]).encode()).hexdigest()


@cache
def _probes(kind: Kind) -> list[Any]:
    rng = random.Random(kind)
    return [_input(kind, rng) for _ in range(_PROBES)]


def _problem(walk: Sequence[Step], tests: int, rng: random.Random) -> Problem | None:
    """Return the problem, or None where the walk is degenerate: overflowing, nearly constant, or with a step that does
    nothing."""
    start = walk[0][0].takes
    cases = _cases(walk, tests, rng)
    if cases is None:
        return None
    lines = [op.code.format(k=k) for op, k in walk]
    phrases = [rng.choice(op.phrases).format(k=k) for op, k in walk]
    return Problem(
        id="generated/" + "+".join(f"{op.name}{k if op.has_constant else ''}" for op, k in walk),
        statement=f"Write solve(x) for {_NAMES[start]}:\n" + "\n".join(phrases),
        solution="\n".join(["def solve(x):", *(f"    {line}" for line in lines), "    return x"]) + "\n",
        tests=cases,
        entry_point="solve",
        thinking=_think(walk),
        difficulty=len(walk),
        family="+".join(op.name for op, _ in walk),
    )


def _walk(start: Kind, difficulty: int, rng: random.Random) -> list[Step]:
    walk: list[Step] = []
    kind = start
    while len(walk) < difficulty:
        op = rng.choice(OPERATIONS[kind])
        if walk and op.name == walk[-1][0].name:
            continue  # the same operation twice in a row is rarely a new problem
        walk.append((op, rng.randint(2, 5)))
        kind = op.gives
    return walk


def _think(walk: Sequence[Step]) -> str:
    """Return one line a step: what `x` is by then, and what is done to it."""
    return "\n".join(f"{op.takes}: {op.phrases[0].format(k=k)}" for op, k in walk)


def _cases(walk: Sequence[Step], wanted: int, rng: random.Random) -> tuple[TestCase, ...] | None:
    """Return distinct inputs with the reference's answers, at least half of the answers distinct, that tell the walk
    from each of its slips; None where that fails."""
    pool = {json.dumps(value): value for value in (_input(walk[0][0].takes, rng) for _ in range(wanted * _DRAWS))}
    answers = {text: _result(walk, value) for text, value in pool.items()}
    if len(pool) < wanted or None in answers.values():
        return None
    chosen: list[str] = []
    for slip, matters in _slips(walk):
        telling = next((text for text in [*chosen, *pool] if _result(slip, pool[text]) != answers[text]), None)
        if telling is None and matters:
            return None
        if telling is not None and telling not in chosen:
            chosen.append(telling)
    texts = list(dict.fromkeys([*chosen, *pool]))[:wanted]
    distinct = {json.dumps(answers[text]) for text in texts}
    if len(chosen) > wanted or len(distinct) * 2 < wanted:
        return None
    return tuple(TestCase("call", input=f"[{text}]", expected=json.dumps(answers[text])) for text in texts)


def _slips(walk: Sequence[Step]) -> Iterator[tuple[list[Step], bool]]:
    """Yield the walks that are one slip away, and whether the slip must change the function: a step left out must, a
    wrong order or a constant one off may not."""
    for at, (op, k) in enumerate(walk):
        before, after = list(walk[:at]), list(walk[at + 1 :])
        if op.takes == op.gives:
            yield before + after, True
        if after and op.takes == op.gives == after[0][0].takes == after[0][0].gives:
            yield [*before, after[0], (op, k), *after[1:]], False
        if op.has_constant:
            yield [*before, (op, k + 1), *after], False
            yield [*before, (op, k - 1), *after], False


def _result(walk: Sequence[Step], value: Any) -> Any:
    """Return what the walk makes of the value; None where a value on the way grows out of hand."""
    for op, k in walk:
        value = _function(op, k)(value)
        if value > _GREATEST if isinstance(value, int) else len(value) > _LONGEST:
            return None
    return value


@cache
def _function(op: Operation, k: int) -> Callable[[Any], Any]:
    scope: dict[str, Any] = {}
    exec(f"def apply(x):\n    {op.code.format(k=k)}\n    return x", scope)  # our own text, from OPERATIONS
    apply: Callable[[Any], Any] = scope["apply"]
    return apply


def _input(kind: Kind, rng: random.Random) -> object:
    if kind == "list":
        return [rng.randint(-9, 20) for _ in range(rng.randint(4, 10))]
    if kind == "string":
        return "".join(rng.choice("abcdeiouABEIrst") for _ in range(rng.randint(4, 10)))
    return rng.randint(10, 99999)
