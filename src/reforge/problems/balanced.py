"""Choose which generated problems to take: both sides of the split are filled as evenly over the difficulties as they
allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from reforge.problems.position import position
from reforge.records import Problem

HELD_OUT_BELOW = 1 / 8  # families at a position under this are held out
Sides = tuple[list[Problem], list[Problem]]  # the held-out problems, and those to train on


def balanced(
    streams: Mapping[int, Iterator[Problem]], train: int, heldout: int, on_drawn: Callable[[], None] = lambda: None
) -> list[Problem]:
    """Return problems from one stream per difficulty; fewer than wanted only where all streams together have no more.

    This ends if the streams do: each round finds every quota filled, or fills them, or finds a stream at its end.
    """
    drawn: dict[int, Sides] = {difficulty: ([], []) for difficulty in streams}
    ended: set[int] = set()
    while True:
        quotas = [
            _even(wanted, {d: len(drawn[d][side]) if d in ended else wanted for d in streams})
            for side, wanted in enumerate((heldout, train))
        ]
        short = [d for d in streams if d not in ended and any(len(drawn[d][side]) < quotas[side][d] for side in (0, 1))]
        if not short:
            return [problem for d in streams for side in (0, 1) for problem in drawn[d][side][: quotas[side][d]]]
        for d in short:
            if not _draw(drawn[d], (quotas[0][d], quotas[1][d]), streams[d], on_drawn):
                ended.add(d)


def _draw(sides: Sides, quota: tuple[int, int], stream: Iterator[Problem], on_drawn: Callable[[], None]) -> bool:
    """Draw until both sides have their quota. Return False where the stream ended before.

    What one side has beyond its quota is kept: the quota rises if another stream ends.
    """
    while any(len(side) < least for side, least in zip(sides, quota, strict=True)):
        problem = next(stream, None)
        if problem is None:
            return False
        sides[position(problem.family) >= HELD_OUT_BELOW].append(problem)
        on_drawn()
    return True


def _even(wanted: int, limits: Mapping[int, int]) -> dict[int, int]:
    """Return shares of `wanted` that differ by at most one except where a limit is lower; they sum to it as far as
    limits allow."""
    shares: dict[int, int] = {}
    for rank, key in enumerate(sorted(limits, key=lambda key: (limits[key], key))):
        shares[key] = min(limits[key], wanted // (len(limits) - rank))
        wanted -= shares[key]
    return shares
