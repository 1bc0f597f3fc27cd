"""Account for what went into each step of curation and where it went: nothing is lost without a count and a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reforge.records import Problem


@dataclass(frozen=True)
class Entry:
    """A problem with its source and the line there (counted from 1): whatever befalls it can be traced back."""

    source: str
    line: int
    problem: Problem

    def out(self, reason: str) -> Quarantined:
        return Quarantined(self.problem.id, reason, self.source, self.line)


@dataclass(frozen=True)
class Quarantined:
    """A row that was left out. `reason` begins with its kind, up to the first colon; that is what the funnel counts."""

    id: str
    reason: str
    source: str
    line: int


@dataclass
class Funnel:
    """The problems that are left after the steps so far, and those that each step left out. A problem that neither went
    on nor was accounted for is a bug, and stops the stage."""

    kept: list[Entry] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    steps: dict[str, dict[str, int]] = field(default_factory=dict)

    def step(self, name: str, came: int, kept: Sequence[Entry], left_out: Sequence[Quarantined]) -> None:
        self.steps[name] = count(came, kept=len(kept), quarantined=len(left_out))
        self.kept = list(kept)
        self.quarantined += left_out


def count(came: int, **went: int) -> dict[str, int]:
    if came != sum(went.values()):
        raise AssertionError(f"{came} problems came in, but {went} is {sum(went.values())}")
    return {"in": came, **went}


def reasons(quarantined: Iterable[Quarantined]) -> dict[str, int]:
    """Return how often each kind of reason occurs, the commonest first."""
    kinds = Counter(item.reason.partition(":")[0] for item in quarantined)
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
