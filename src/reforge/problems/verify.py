"""A problem is as good as its reference solution: published programs are run against its tests in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from reforge.config.problems import Verification
from reforge.errors import InfrastructureError
from reforge.machine.project import command
from reforge.problems.funnel import Entry, Quarantined
from reforge.records import Problem, Status, Verdict
from reforge.sandbox.judge import Judging, in_parallel

HEADROOM = 2.0  # a time limit must leave a program that is half as quick as the reference its chance


def verify(
    entries: Sequence[Entry],
    judge: Judging,
    config: Verification,
    cpu_seconds: float,
    workers: int,
    on_done: Callable[[], None] | None = None,
) -> tuple[list[Entry], list[Quarantined]]:
    """Keep what is accepted with time to spare, quarantine the rest for what its first reference did. Where a source
    has several references, the first that is accepted becomes the solution (DeepCoder: any will do). `cpu_seconds` is
    the judge's limit. A failure of the machinery says nothing about a problem: it is raised."""
    settled = in_parallel(lambda entry: _settled(entry, judge, config, cpu_seconds), entries, workers, on_done)
    return [item for item in settled if isinstance(item, Entry)], [i for i in settled if isinstance(i, Quarantined)]


def _settled(entry: Entry, judge: Judging, config: Verification, cpu_seconds: float) -> Entry | Quarantined:
    problem, verdicts, accepted = entry.problem, list[Verdict](), ""
    for turn, program in enumerate((problem.solution, *problem.alternatives)):
        if turn >= config.references and accepted:
            break
        verdicts.append(_asked(judge, program, problem))
        accepted = accepted or (program if not _failure(verdicts[-1], cpu_seconds) else "")
    if not accepted:
        return entry.out(_failure(verdicts[0], cpu_seconds))
    for run in range(2, config.runs + 1):
        # the verdict is remembered: a different last line makes it a different program that does the same
        again = _asked(judge, f"{accepted}\n# run {run}\n", problem)
        if again.status is not Status.ACCEPTED:
            return entry.out(f"flaky: accepted, then {again.status} in run {run}, {again.reason}".removesuffix(", "))
    differ = any(verdict.status is Status.WRONG_ANSWER for verdict in verdicts)
    several = differ and problem.checker.rule != "program"  # such a checker knows every answer: the others are wrong
    if several and config.several_answers == "drop":
        return entry.out("several answers: published programs answer differently, and no checker says which will do")
    return replace(entry, problem=replace(problem, solution=accepted, several_answers=several))


def _asked(judge: Judging, program: str, problem: Problem) -> Verdict:
    verdict = judge.judge(program, problem)
    if verdict.status is Status.INFRASTRUCTURE:
        raise InfrastructureError(
            f"The sandbox itself failed on a reference solution of {problem.id}: {verdict.reason}. No problem was "
            f"dropped for it and nothing was written; see `{command('reforge doctor')}`, then start the stage again: "
            "what has been verified is not verified again."
        )
    return verdict


def _failure(verdict: Verdict, cpu_seconds: float) -> str:
    """Return why a reference with this verdict will not do; empty where it will."""
    if verdict.status is Status.ACCEPTED:
        if verdict.cpu_seconds * HEADROOM <= cpu_seconds:
            return ""
        return f"reference solution slow: over 1/{HEADROOM:g} of the limit of {cpu_seconds:g} s CPU time"
    if verdict.status is Status.BROKEN_TEST:
        return f"broken test: test {verdict.test_index + 1}, {verdict.reason}"
    where = f"test {verdict.test_index + 1}" if verdict.test_index >= 0 else "before the tests"
    return f"reference solution {verdict.status}: {where}, {verdict.reason}".removesuffix(", ")
