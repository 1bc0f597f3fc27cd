"""A problem is as good as its reference solution: each is run against its own tests in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from reforge.errors import InfrastructureError
from reforge.problems.funnel import Entry, Quarantined
from reforge.sandbox.judge import Judging
from reforge.types import Status, Verdict

HEADROOM = 2.0  # a time limit must leave a program that is half as quick as the reference its chance


def verify(
    entries: Sequence[Entry], judge: Judging, cpu_seconds: float, on_done: Callable[[], None] | None = None
) -> tuple[list[Entry], list[Quarantined]]:
    """Keep what is accepted with time to spare, quarantine the rest for what its first reference did. Where a source
    has several references, the first that is accepted becomes the solution (DeepCoder: any will do). `cpu_seconds` is
    the judge's limit. A failure of the machinery says nothing about a problem: it stops.
    """
    reasons = _failures(entries, judge, cpu_seconds, on_done)
    kept = {number: entry for number, entry in enumerate(entries) if not reasons[number]}
    waiting = [number for number in range(len(entries)) if reasons[number]]
    turn = 0
    while waiting := [number for number in waiting if turn < len(entries[number].problem.alternatives)]:
        tried = [_with_solution(entries[number], entries[number].problem.alternatives[turn]) for number in waiting]
        failures = _failures(tried, judge, cpu_seconds, None)
        kept |= {number: entry for number, entry, reason in zip(waiting, tried, failures, strict=True) if not reason}
        waiting = [number for number in waiting if number not in kept]
        turn += 1
    dropped = [
        Quarantined(entry.problem.id, reasons[number], entry.line)
        for number, entry in enumerate(entries)
        if number not in kept
    ]
    return [kept[number] for number in sorted(kept)], dropped


def _with_solution(entry: Entry, solution: str) -> Entry:
    return replace(entry, problem=replace(entry.problem, solution=solution))


def _failures(
    entries: Sequence[Entry], judge: Judging, cpu_seconds: float, on_done: Callable[[], None] | None
) -> list[str]:
    """Of each, why its solution will not do; empty where it will."""
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
    return [_reason(verdict, cpu_seconds) for verdict in verdicts]


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
