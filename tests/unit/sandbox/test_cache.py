"""Verdicts that are known are not judged again, and only what cannot change them is left out of their key."""

import dataclasses
import math
import re
import threading
from pathlib import Path

import pytest

from reforge.records import Checker, Problem, Status, TestCase, Verdict
from reforge.sandbox import cache
from reforge.sandbox.grading import Graded
from reforge.sandbox.judge import Judge, Limits
from tests.unit.sandbox.problems import LIMITS, SUM

# --- the cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def graded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Programs that were really run, with a stub in place of running them."""
    programs: list[str] = []

    def grade(program: str, *_: object) -> Graded:
        programs.append(program)
        status = Status.INFRASTRUCTURE if program == "infra" else Status.ACCEPTED
        return Graded(Verdict(status, "why", 3, 0.5))

    monkeypatch.setattr("reforge.sandbox.judge.grade", grade)
    return programs


def test_a_known_verdict_is_not_judged_again(graded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with Judge(LIMITS, 2, path) as judge:
        first = judge.judge("a", SUM)
        assert judge.judge("a", SUM) == first
    with Judge(LIMITS, 2, path) as judge:
        assert judge.judge("a", SUM) == first
    assert graded == ["a"]


def test_infrastructure_failures_are_not_remembered(graded: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        with Judge(LIMITS, 2, tmp_path / "verdicts.jsonl") as judge:
            judge.judge("infra", SUM)
            judge.judge("infra", SUM)
    assert graded == ["infra"] * 4


def test_a_torn_cache_file_loses_only_the_torn_line(graded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with Judge(LIMITS, 2, path) as judge:
        judge.judge("a", SUM)
        judge.judge("b", SUM)
    path.write_bytes(path.read_bytes()[:-20] + b"\xff")
    for _ in range(2):
        with Judge(LIMITS, 2, path) as judge:
            judge.judge("a", SUM)
            judge.judge("b", SUM)
    assert graded == ["a", "b", "b"]


CONFIGURATION = cache.Configuration(LIMITS, ("seccomp",), "cpython 3.11.7", ("numpy==2 ab",), "digest of the code")


def test_every_field_of_the_configuration_changes_the_key() -> None:
    """Whatever is added to a judge's configuration, nobody has to think of the key."""
    other = {
        "limits": [
            dataclasses.replace(LIMITS, **{field.name: getattr(LIMITS, field.name) / 2})
            for field in dataclasses.fields(Limits)
            if getattr(LIMITS, field.name) not in (math.inf, "refuse")
        ]
        + [dataclasses.replace(LIMITS, budget_seconds=7.0), dataclasses.replace(LIMITS, exposed="accept")],
        "layers": [()],
        "interpreter": ["cpython 3.99"],
        "packages": [(), ("numpy==3 ab",), ("numpy==2 cd",)],
        "code": ["changed"],
    }
    assert other.keys() == {field.name for field in dataclasses.fields(cache.Configuration)}
    keys = [cache.verdict_key("p", SUM, CONFIGURATION), cache.verdict_key("q", SUM, CONFIGURATION)]
    for name, values in other.items():
        for value in values:
            keys.append(cache.verdict_key("p", SUM, dataclasses.replace(CONFIGURATION, **{name: value})))
    assert len(set(keys)) == len(keys)


def test_every_field_of_a_problem_changes_the_key_but_what_describes_it() -> None:
    key = cache.verdict_key("p", SUM, CONFIGURATION)
    for field in dataclasses.fields(Problem):
        value = "changed" if field.type == "str" else (TestCase("call", "[]", "0"),) if field.name == "tests" else True
        value = Checker("lcb") if field.name == "checker" else value
        changed = dataclasses.replace(SUM, **{field.name: value})
        assert (cache.verdict_key("p", changed, CONFIGURATION) == key) is (field.name in cache._ASIDE), field.name
    for checker in (Checker(tolerance=0.5), Checker(source="x")):
        assert cache.verdict_key("p", dataclasses.replace(SUM, checker=checker), CONFIGURATION) != key
    for test in (TestCase("call", "[1]", "3"), TestCase("call", "[[1, 2]]", "4"), TestCase("stdin", "[[1, 2]]", "3")):
        assert cache.verdict_key("p", dataclasses.replace(SUM, tests=(test,)), CONFIGURATION) != key


def test_a_judge_is_configured_by_all_that_it_was_given() -> None:
    with Judge(LIMITS, 1, packages=["numpy"], layers=()) as judge:
        made = judge.configuration
    assert (made.limits, made.layers, made.code) == (LIMITS, (), cache.code_digest())
    assert re.fullmatch(r"numpy==\S+ [0-9a-f]{16}", made.packages[0])
    assert made.interpreter.startswith("cpython")


def test_of_equal_jobs_at_once_one_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    graded, release = [], threading.Event()

    def grade(program: str, *_: object) -> Graded:
        graded.append(program)
        assert release.wait(30)
        return Graded(Verdict(Status.ACCEPTED))

    monkeypatch.setattr("reforge.sandbox.judge.grade", grade)
    with Judge(LIMITS, workers=4) as judge:
        threading.Timer(0.2, release.set).start()
        verdicts = judge.judge_many([("same", SUM)] * 4)
    assert [verdict.status for verdict in verdicts] == [Status.ACCEPTED] * 4
    assert graded == ["same"]
