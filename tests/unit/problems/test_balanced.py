"""Streams of different lengths fill both sides as evenly as they can, and it always ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.problems.balanced import HELD_OUT_BELOW, balanced
from reforge.problems.generated import generate
from reforge.problems.position import position
from reforge.problems.split import split
from reforge.records import Problem


def stream(difficulty: int, length: int | None) -> Iterator[Problem]:
    for i in range(length) if length is not None else count():
        name = f"{difficulty}/{i}"
        yield Problem(name, "", "", (), difficulty=difficulty, family=name)


def sides(problems: list[Problem]) -> tuple[Counter[int], Counter[int]]:
    """How many to train on and how many held out, by difficulty."""
    held_out = [position(problem.family) < HELD_OUT_BELOW for problem in problems]
    train, heldout = Counter[int](), Counter[int]()
    for problem, held in zip(problems, held_out, strict=True):
        (heldout if held else train)[problem.difficulty] += 1
    return train, heldout


def test_equal_shares_where_no_stream_ends() -> None:
    train, heldout = sides(balanced({d: stream(d, None) for d in (1, 2, 3)}, 31, 6))
    assert sorted(train.values()) == [10, 10, 11]
    assert heldout == {1: 2, 2: 2, 3: 2}


def test_the_others_make_up_for_a_stream_that_ends() -> None:
    short = list(stream(1, 10))
    has = sides(short)
    train, heldout = sides(balanced({1: iter(short), 2: stream(2, None), 3: stream(3, None)}, 100, 9))
    assert (train[1], heldout[1]) == (has[0][1], min(3, has[1][1]))
    assert train.total() == 100
    assert heldout.total() == 9
    assert abs(train[2] - train[3]) <= 1


@given(st.dictionaries(st.integers(1, 6), st.integers(0, 60), max_size=6), st.integers(1, 80), st.integers(1, 20))
def test_it_ends_and_takes_all_that_is_wanted_or_all_there_is(lengths: dict[int, int], train: int, heldout: int):
    there = sides([problem for d, length in lengths.items() for problem in stream(d, length)])
    taken = sides(balanced({d: stream(d, length) for d, length in lengths.items()}, train, heldout))
    assert taken[0].total() == min(train, there[0].total())
    assert taken[1].total() == min(heldout, there[1].total())


def test_generated_problems_fill_the_default_numbers() -> None:
    streams = {d: generate([d], 10, seed=d) for d in range(1, 9)}
    problems = balanced(streams, train=6000, heldout=200)
    train, heldout = sides(problems)
    assert (train.total(), heldout.total()) == (6000, 200)
    assert max(train.values()) - min(train[d] for d in range(2, 9)) <= 1
    found = split(problems, 6000, 200)
    assert found.surplus == []
    assert all(position(problem.family) < HELD_OUT_BELOW for problem in found.heldout)


def test_one_exhausted_difficulty_gives_what_it_has() -> None:
    problems = balanced({1: generate([1], 8, seed=0)}, train=6000, heldout=200)
    assert 50 < len(problems) < 200


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_give_equal_problems(seed: int) -> None:
    first, again, other = (balanced({2: generate([2], 8, seed=s)}, 20, 3) for s in (seed, seed, seed + 1))
    assert first == again
    assert first != other
