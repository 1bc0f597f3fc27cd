"""A problem is as good as its reference solution: each is run against its own tests in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from reforge.errors import InfrastructureError
from reforge.problems.funnel import Entry, Quarantined
from reforge.types import Problem, Status, Verdict

_BROKEN_TEST = "test code failed"  # how the sandbox begins its reason where no program could pass


class Judging(Protocol):
    """The part of `reforge.sandbox.judge.Judge` that is used here."""

    def judge_many(
        self, jobs: list[tuple[str, Problem]], on_done: Callable[[], None] | None = None
    ) -> list[Verdict]: ...


def verify(
    entries: Sequence[Entry], judge: Judging, on_done: Callable[[], None] | None = None
) -> tuple[list[Entry], list[Quarantined]]:
    """Keep what is accepted, quarantine the rest. A failure of the machinery says nothing about a problem: it stops."""
    verdicts = judge.judge_many([(entry.problem.solution, entry.problem) for entry in entries], on_done)
    judged = list(zip(entries, verdicts, strict=True))
    failed = [(entry, verdict) for entry, verdict in judged if _machinery_failed(verdict)]
    if failed:
        entry, verdict = failed[0]
        raise InfrastructureError(
            f"The sandbox itself failed on {len(failed)} of {len(entries)} reference solutions, first on "
            f"{entry.problem.id}: {verdict.reason}. No problem was dropped for it and nothing was written; see "
            "`reforge doctor`, then start the stage again."
        )
    kept = [entry for entry, verdict in judged if verdict.status is Status.ACCEPTED]
    dropped = [
        Quarantined(entry.problem.id, _reason(verdict), entry.line)
        for entry, verdict in judged
        if verdict.status is not Status.ACCEPTED
    ]
    return kept, dropped


def _machinery_failed(verdict: Verdict) -> bool:
    return verdict.status is Status.INFRASTRUCTURE and not verdict.reason.startswith(_BROKEN_TEST)


def _reason(verdict: Verdict) -> str:
    if verdict.status is Status.INFRASTRUCTURE:
        return f"broken test: test {verdict.test_index + 1}, {verdict.reason}"
    where = f"test {verdict.test_index + 1}" if verdict.test_index >= 0 else "before the tests"
    return f"reference solution {verdict.status}: {where}, {verdict.reason}".removesuffix(", ")
