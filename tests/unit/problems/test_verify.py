"""Accepted references are kept, refused ones quarantined with the reason, and a failing sandbox blames nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from reforge.config.problems import Verification
from reforge.errors import InfrastructureError
from reforge.problems.funnel import Entry, Funnel, Quarantined, reasons
from reforge.problems.verify import verify
from reforge.records import Checker, Problem, Status, Verdict

AC, WA, RE = Verdict(Status.ACCEPTED), Verdict(Status.WRONG_ANSWER, "no", 0), Verdict(Status.RUNTIME_ERROR, "oh", 0)


class Scripted:
    """Gives each program the verdicts that were written down for it, one after the other."""

    def __init__(self, verdicts: dict[str, Sequence[Verdict]]) -> None:
        self.verdicts = verdicts
        self.asked: list[str] = []

    def judge(self, program: str, problem: Problem) -> Verdict:
        name = program.partition("\n")[0]
        self.asked.append(program)
        given = self.verdicts[name]
        return given[min(sum(asked.partition("\n")[0] == name for asked in self.asked), len(given)) - 1]


def entries(names: str) -> list[Entry]:
    return [Entry("set", line, Problem(name, "", name, ())) for line, name in enumerate(names, 1)]


def settings(references: int = 1, runs: int = 1, **more: Any) -> Verification:
    return Verification(**{"references": references, "runs": runs, "several_answers": "drop", **more})


def one(judge: Any, alternatives: Sequence[str], config: Verification) -> Problem | str:
    """What became of a problem with the reference `a` and these others: itself, or the reason."""
    problem = Problem("p", "", "a", (), alternatives=tuple(alternatives))
    kept, dropped = verify([Entry("set", 1, problem)], judge, config, 1.0, 1)
    return kept[0].problem if kept else dropped[0].reason


def test_only_accepted_references_are_kept() -> None:
    done: list[None] = []
    judge: Any = Scripted(
        {
            "a": [AC],
            "b": [Verdict(Status.WRONG_ANSWER, "expected 3, got 4", test_index=1)],
            "c": [Verdict(Status.COMPILE_ERROR, "invalid syntax")],
            "d": [Verdict(Status.TIME_LIMIT, test_index=0)],
            "e": [Verdict(Status.BROKEN_TEST, "NameError", 0)],
            "f": [Verdict(Status.ACCEPTED, cpu_seconds=0.6)],
            "g": [Verdict(Status.ACCEPTED, cpu_seconds=0.5)],
        }
    )
    kept, dropped = verify(entries("abcdefg"), judge, settings(), 1.0, 3, lambda: done.append(None))
    assert [entry.problem.id for entry in kept] == ["a", "g"]
    assert dropped == [
        Quarantined("b", "reference solution WA: test 2, expected 3, got 4", "set", 2),
        Quarantined("c", "reference solution CE: before the tests, invalid syntax", "set", 3),
        Quarantined("d", "reference solution TLE: test 1", "set", 4),
        Quarantined("e", "broken test: test 1, NameError", "set", 5),
        Quarantined("f", "reference solution slow: over 1/2 of the limit of 1 s CPU time", "set", 6),
    ]
    assert len(done) == 7


def test_any_reference_that_is_accepted_becomes_the_solution() -> None:
    judge: Any = Scripted({"a": [RE], "b": [WA], "c": [AC], "d": [AC]})
    found = one(judge, "bcd", settings(several_answers="keep"))
    assert isinstance(found, Problem)
    assert found.solution == "c"
    assert judge.asked == ["a", "b", "c"]  # and no more than it takes


def test_two_references_that_answer_differently_mark_a_problem_with_several_answers() -> None:
    verdicts = {"a": [AC], "b": [RE], "c": [WA]}
    assert str(one(Scripted(verdicts), "bc", settings(3))).startswith("several answers: published programs")
    kept = one(Scripted(verdicts), "bc", settings(3, several_answers="keep"))
    assert isinstance(kept, Problem)
    assert kept.several_answers
    crashing = one(Scripted(verdicts), "bc", settings(2))  # a program that crashes answers nothing
    assert isinstance(crashing, Problem)
    assert not crashing.several_answers


def test_where_a_checker_knows_every_answer_a_refused_reference_is_only_wrong() -> None:
    checker = Checker("program", source="def check(*of): return True")
    problem = Problem("p", "", "a", (), alternatives=("b",), checker=checker)
    judge: Any = Scripted({"a": [AC], "b": [WA]})
    (kept,), dropped = verify([Entry("set", 1, problem)], judge, settings(2), 1.0, 1)
    assert (kept.problem.several_answers, dropped) == (False, [])


def test_a_reference_that_fails_now_and_then_is_flaky() -> None:
    judge: Any = Scripted({"a": [AC, AC, RE]})
    assert one(judge, "", settings(runs=3)) == "flaky: accepted, then RE in run 3, oh"
    assert len(set(judge.asked)) == 3  # each another text: no verdict may come from a cache
    assert isinstance(one(Scripted({"a": [AC, AC, RE]}), "", settings(runs=2)), Problem)


def test_a_failure_of_the_sandbox_stops_and_names_the_problem() -> None:
    judge: Any = Scripted({"a": [AC], "b": [Verdict(Status.INFRASTRUCTURE, "cannot fork")]})
    with pytest.raises(InfrastructureError, match=r"a reference solution of b: cannot fork"):
        verify(entries("ab"), judge, settings(), 1.0, 1)


def test_a_step_of_the_funnel_that_loses_a_problem_stops() -> None:
    funnel, (first, second) = Funnel(), entries("ab")
    funnel.step("read", 3, [first, second], [Quarantined("c", "gone", "set", 3)])
    assert funnel.steps == {"read": {"in": 3, "kept": 2, "quarantined": 1}}
    with pytest.raises(AssertionError, match="2 problems came in"):
        funnel.step("verify", 2, [first], [])


def test_reasons_are_counted_by_kind_the_commonest_first() -> None:
    kinds = ["missing field: code", "no tests: 2", "no tests: 3"]
    dropped = [Quarantined("a", reason, "set", line) for line, reason in enumerate(kinds)]
    assert list(reasons(dropped).items()) == [("no tests", 2), ("missing field", 1)]
