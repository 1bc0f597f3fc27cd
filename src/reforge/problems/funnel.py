"""What went into each step of curation and where it went: nothing is lost without a count and a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reforge.types import Problem


@dataclass(frozen=True)
class Entry:
    """A problem with the line of its source (counted from 1), so that whatever befalls it can be traced back."""

    line: int
    problem: Problem


@dataclass(frozen=True)
class Quarantined:
    """`reason` begins with its kind, up to the first colon; that is what the funnel counts."""

    id: str
    reason: str
    line: int


def count(came: int, **went: int) -> dict[str, int]:
    """One step of the funnel. A problem that neither went on nor was accounted for is a bug, and stops the stage."""
    if came != sum(went.values()):
        raise AssertionError(f"{came} problems came in, but {went} is {sum(went.values())}")
    return {"in": came, **went}


def reasons(quarantined: Iterable[Quarantined]) -> dict[str, int]:
    """How often each kind of reason occurs, the commonest first."""
    kinds = Counter(item.reason.partition(":")[0] for item in quarantined)
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
