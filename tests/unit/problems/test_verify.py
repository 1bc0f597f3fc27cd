"""Accepted references are kept, refused ones quarantined with the reason, and a failing sandbox blames nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reforge.errors import InfrastructureError
from reforge.problems.funnel import Entry, Quarantined, count, reasons
from reforge.problems.verify import verify
from reforge.types import Problem, Status, Verdict


class Scripted:
    """Gives each problem the verdict that was written down for its id."""

    def __init__(self, verdicts: dict[str, Verdict]) -> None:
        self.verdicts = verdicts

    def judge_many(self, jobs: list[tuple[str, Problem]], on_done: Callable[[], None] | None = None) -> list[Verdict]:
        for program, problem in jobs:
            assert program == f"solution of {problem.id}"
            if on_done:
                on_done()
        return [self.verdicts[problem.id] for _, problem in jobs]


def entries(names: str) -> list[Entry]:
    return [Entry(line, Problem(name, "", f"solution of {name}", ())) for line, name in enumerate(names, 1)]


def test_only_accepted_references_are_kept() -> None:
    done: list[None] = []
    judge = Scripted(
        {
            "a": Verdict(Status.ACCEPTED),
            "b": Verdict(Status.WRONG_ANSWER, "expected 3, got 4", test_index=1),
            "c": Verdict(Status.COMPILE_ERROR, "invalid syntax"),
            "d": Verdict(Status.TIME_LIMIT, test_index=0),
            "e": Verdict(Status.BROKEN_TEST, "NameError", 0),
            "f": Verdict(Status.ACCEPTED, cpu_seconds=0.6),
            "g": Verdict(Status.ACCEPTED, cpu_seconds=0.5),
        }
    )
    kept, dropped = verify(entries("abcdefg"), judge, 1.0, lambda: done.append(None))
    assert [entry.problem.id for entry in kept] == ["a", "g"]
    assert dropped == [
        Quarantined("b", "reference solution WA: test 2, expected 3, got 4", 2),
        Quarantined("c", "reference solution CE: before the tests, invalid syntax", 3),
        Quarantined("d", "reference solution TLE: test 1", 4),
        Quarantined("e", "broken test: test 1, NameError", 5),
        Quarantined("f", "reference solution slow: over 1/2 of the limit of 1 s CPU time", 6),
    ]
    assert len(done) == 7


def test_a_failure_of_the_sandbox_stops_and_names_the_first_problem() -> None:
    judge = Scripted({"a": Verdict(Status.ACCEPTED), "b": Verdict(Status.INFRASTRUCTURE, "cannot fork")})
    with pytest.raises(InfrastructureError, match=r"1 of 2 reference solutions, first on b: cannot fork"):
        verify(entries("ab"), judge, 1.0)


def test_a_step_of_the_funnel_that_loses_a_problem_stops() -> None:
    assert count(5, kept=3, quarantined=2) == {"in": 5, "kept": 3, "quarantined": 2}
    with pytest.raises(AssertionError, match="5 problems came in"):
        count(5, kept=3, quarantined=1)


def test_reasons_are_counted_by_kind_the_commonest_first() -> None:
    dropped = [Quarantined("a", "missing field: code", 1), *(Quarantined("b", f"no tests: {i}", i) for i in (2, 3))]
    assert list(reasons(dropped).items()) == [("no tests", 2), ("missing field", 1)]
