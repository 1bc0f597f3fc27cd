"""A problem is as good as its reference solution: each is run against its own tests in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reforge.errors import InfrastructureError
from reforge.problems.funnel import Entry, Quarantined
from reforge.sandbox.judge import Judging
from reforge.types import Status, Verdict

HEADROOM = 2.0  # a time limit must leave a program that is half as quick as the reference its chance


def verify(
    entries: Sequence[Entry], judge: Judging, cpu_seconds: float, on_done: Callable[[], None] | None = None
) -> tuple[list[Entry], list[Quarantined]]:
    """Keep what is accepted with time to spare, quarantine the rest. `cpu_seconds` is the judge's limit. A failure of
    the machinery says nothing about a problem: it stops.
    """
    verdicts = judge.judge_many([(entry.problem.solution, entry.problem) for entry in entries], on_done)
    judged = list(zip(entries, verdicts, strict=True))
    failed = [(entry, verdict) for entry, verdict in judged if verdict.status is Status.INFRASTRUCTURE]
    if failed:
        entry, verdict = failed[0]
        raise InfrastructureError(
            f"The sandbox itself failed on {len(failed)} of {len(entries)} reference solutions, first on "
            f"{entry.problem.id}: {verdict.reason}. No problem was dropped for it and nothing was written; see "
            "`reforge doctor`, then start the stage again."
        )
    reasons = [_reason(verdict, cpu_seconds) for verdict in verdicts]
    kept = [entry for entry, reason in zip(entries, reasons, strict=True) if not reason]
    dropped = [
        Quarantined(entry.problem.id, reason, entry.line)
        for entry, reason in zip(entries, reasons, strict=True)
        if reason
    ]
    return kept, dropped


def _reason(verdict: Verdict, cpu_seconds: float) -> str:
    """Why a problem with this verdict on its reference is not kept; empty where it is."""
    if verdict.status is Status.ACCEPTED:
        if verdict.cpu_seconds * HEADROOM <= cpu_seconds:
            return ""
        return f"reference solution slow: over 1/{HEADROOM:g} of the limit of {cpu_seconds:g} s CPU time"
    if verdict.status is Status.BROKEN_TEST:
        return f"broken test: test {verdict.test_index + 1}, {verdict.reason}"
    where = f"test {verdict.test_index + 1}" if verdict.test_index >= 0 else "before the tests"
    return f"reference solution {verdict.status}: {where}, {verdict.reason}".removesuffix(", ")
