"""Steps that look at one problem at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reforge.config.problems import Curate, ProblemSource
from reforge.problems.filters import badly_tested, outside, passing, unsuitable
from reforge.problems.funnel import Entry
from reforge.records import Checker, Problem, TestCase

PROBLEM = Problem("p", "Write a program that adds the two numbers it reads.", "x", (TestCase("stdin", "1 2", "3"),))
ENGLISH = Curate(
    sources={"a": ProblemSource(adapter="mbpp")},
    difficulties=[],
    languages=["en"],
    statement_characters=[10, 100],
    tests_per_problem=1,
    verify={"references": 1, "runs": 1, "several_answers": "keep"},  # type: ignore[arg-type]
    near=None,
    against={},
    pass_rates=None,
    heldout_by="family",
    worked=None,
    order="mixed",
    train=1,
    heldout=1,
)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (PROBLEM.statement, ""),
        ("x = f(y) * 2 ** k", ""),  # mostly code: no language to be sure of
        ("Дана строка s. Найдите количество гласных в ней.", "other language: ru"),
        ("给定一个整数数组，返回两数之和。请写一个函数。", "other language: zh"),
        ("Schreibe eine Funktion, die zwei Zahlen addiert und ausgibt.", "other language: de"),
        ("Add.", "statement length: 4 characters, not 10 to 100"),
        ("word " * 21, "statement length: 104 characters, not 10 to 100"),
    ],
)
def test_statements(statement: str, reason: str) -> None:
    assert unsuitable(replace(PROBLEM, statement=statement), ENGLISH) == reason


def test_without_languages_any_will_do() -> None:
    anything = ENGLISH.model_copy(update={"languages": []})
    assert unsuitable(replace(PROBLEM, statement="Дана строка s. Найдите количество гласных."), anything) == ""


@pytest.mark.parametrize(
    ("window", "date", "reason"),
    [
        ({}, "", ""),
        ({"after": "2024-01-02"}, "2024-01-02", ""),
        ({"after": "2024-01-02"}, "2024-01-01", "too early: 2024-01-01 is before 2024-01-02"),
        ({"before": "2024-01-02"}, "2024-01-01", ""),
        ({"before": "2024-01-02"}, "2024-01-02", "too late: 2024-01-02 is not before 2024-01-02"),
        ({"before": "2024-01-02"}, "", "no date: the source is read by dates"),
    ],
)
def test_days_are_half_open(window: dict[str, Any], date: str, reason: str) -> None:
    assert outside(replace(PROBLEM, date=date), ProblemSource(adapter="mbpp", **window)) == reason


def test_tests_are_counted_once_and_must_not_contradict_each_other() -> None:
    one, same, other = TestCase("stdin", "1", "2"), TestCase("stdin", "1", "2"), TestCase("stdin", "1", "3")
    assert badly_tested(replace(PROBLEM, tests=(one, same)), 1) == ""
    assert badly_tested(replace(PROBLEM, tests=(one, same)), 2) == "too few tests: 1 of 2"
    assert badly_tested(replace(PROBLEM, tests=(one, other)), 2) == "contradictory tests: two answers to '1'"
    judged = replace(PROBLEM, tests=(one, other), checker=Checker("program", source="def check(*a): return True"))
    assert badly_tested(judged, 2) == ""


def test_what_a_step_leaves_out_is_not_lost() -> None:
    entries = [Entry("set", line, replace(PROBLEM, id=str(line))) for line in range(4)]
    kept, out = passing(entries, lambda entry: "odd: it is" if entry.line % 2 else "")
    assert [entry.line for entry in kept] == [0, 2]
    assert [(item.line, item.source, item.id, item.reason) for item in out] == [
        (1, "set", "1", "odd: it is"), (3, "set", "3", "odd: it is"),
    ]  # fmt: skip
