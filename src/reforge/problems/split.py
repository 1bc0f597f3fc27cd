"""Split problems into training and held-out ones. The hash of its family decides a problem's side, so no family is on
both; or the day it came out, so that nothing held out is older than what is trained on.

Neither the seed nor the wanted counts enter the hash: what one run holds out, no other run trains on (as long as the
source is the same and the share of held-out problems does not shrink).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from reforge.errors import UserError
from reforge.problems.position import position
from reforge.records import Problem


@dataclass(frozen=True)
class Split:
    """The sides of a split, each in an order of hashes: any prefix of it is a fair sample. `surplus` is what neither
    side wanted."""

    train: list[Problem]
    heldout: list[Problem]
    surplus: list[Problem]


def split(
    problems: Sequence[Problem], train: int | None, heldout: int, by: Literal["family", "date"] = "family"
) -> Split:
    """Return `train` problems (None: all that are left) and `heldout` ones. Whole families are held out, lowest
    position first, until `heldout` is filled; the other families are for training. By date: whole days are held out,
    the last first; training ends before the first of them. Raises UserError where there are too few problems."""
    if by == "date":
        return _by_date(problems, train, heldout)
    if len(problems) < (train or 1) + heldout:
        raise _short(f"{len(problems)} problems are left", len(problems), train, heldout)
    sides: tuple[list[Problem], list[Problem]] = [], []
    boundary = ""
    for problem in sorted(problems, key=lambda problem: (position(problem.family), problem.family)):
        if len(sides[0]) < heldout:
            boundary = problem.family
        sides[problem.family != boundary and len(sides[0]) >= heldout].append(problem)
    low, high = map(_mixed, sides)
    if len(high) < (train or 1):
        found = f"the families that {heldout} held-out problems belong to leave {len(high)} problems"
        raise _short(found, len(high) + heldout, train, heldout)
    return _cut(high, train, low, heldout)


def _by_date(problems: Sequence[Problem], train: int | None, heldout: int) -> Split:
    undated = [problem.id for problem in problems if not problem.date]
    if undated:
        raise UserError(
            f"curate.*.heldout_by=date, but {len(undated)} of {len(problems)} problems have no date, such as "
            f"{undated[0]}. Take sources with dates, or curate.*.heldout_by=family."
        )
    if len(problems) < (train or 1) + heldout:
        raise _short(f"{len(problems)} problems are left", len(problems), train, heldout)
    boundary = sorted(problem.date for problem in problems)[-heldout]
    late = _mixed(problem for problem in problems if problem.date >= boundary)
    early = _mixed(problem for problem in problems if problem.date < boundary)
    if len(early) < (train or 1):
        raise _short(f"only {len(early)} came out before {boundary}", len(early) + heldout, train, heldout)
    return _cut(early, train, late, heldout)


def in_order(problems: Sequence[Problem], order: Literal["mixed", "easiest_first"]) -> list[Problem]:
    """Return the problems in the order of the curriculum: as the split mixed them, or by difficulty, those without a
    grade last. Equal ones stay mixed."""
    if order == "mixed":
        return list(problems)
    if not any(problem.difficulty for problem in problems):
        raise UserError(
            "problems.order=easiest_first, but no problem has a grade of difficulty. Measure pass rates first."
        )
    return sorted(problems, key=lambda problem: (problem.difficulty == 0, problem.difficulty))


def _mixed(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (position(problem.id), problem.id))


def _cut(pool: list[Problem], train: int | None, reserve: list[Problem], heldout: int) -> Split:
    wanted = len(pool) if train is None else train
    return Split(pool[:wanted], reserve[:heldout], pool[wanted:] + reserve[heldout:])


def _short(found: str, total: int, train: int | None, heldout: int) -> UserError:
    held = heldout if heldout < total else max(1, total // 10)
    wanted = "null" if train is None else train
    return UserError(
        f"curate.*.train={wanted} and curate.*.heldout={heldout} are wanted, but {found}. Compose again with smaller "
        f"numbers (for example curate.*.train={max(1, total - held)} curate.*.heldout={held}), or give a larger source."
    )
