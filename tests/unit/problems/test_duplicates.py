"""What is one problem, and what is not. Similarities are worked by hand."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reforge.config.problems import Near
from reforge.problems.duplicates import drop_contaminated, drop_duplicates
from reforge.problems.funnel import Entry
from reforge.records import Problem, TestCase

NEAR = Near(statement=0.9, tests=0.6)


def asserts(*sources: str) -> tuple[TestCase, ...]:
    return tuple(TestCase("assert", source) for source in sources)


ADD = Problem(
    "add",
    "Write a function that adds two given numbers and returns what they make together.",
    "",
    asserts("assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(-1, 5) == 4"),
    entry_point="add",
)
RENAMED = replace(
    ADD,
    id="renamed",
    statement="Return the total.",
    tests=asserts("assert total(1, 2) == 3", "assert total(0,0)==0", "assert 4 == total(-1, 5)"),
    entry_point="total",
)
REORDERED = replace(RENAMED, id="reordered", tests=ADD.tests[::-1], entry_point="add")
AS_CALLS = replace(
    RENAMED,
    id="calls",
    tests=(TestCase("call", "[1, 2]", "3"), TestCase("call", "[0, 0]", "0"), TestCase("call", "[-1, 5]", "4")),
)
AS_CHECK = replace(
    RENAMED,
    id="check",
    tests=asserts(
        "def check(candidate):\n    assert True, 'runs'\n    assert candidate(1, 2) == 3\n"
        "    assert candidate(0, 0) == 0\n    assert candidate(-1, 5) == 4, 'last'\ncheck(total)"
    ),
)
SAME_WORDS = replace(RENAMED, id="words", statement=ADD.statement.upper(), tests=asserts("assert total(9, 9) == 18"))
OTHER = replace(
    RENAMED, id="other", statement="Multiply.", tests=asserts("assert total(1, 2) == 2", "assert total(0, 0) == 0")
)
READS = Problem("reads", "Echo.", "", (TestCase("stdin", "1\n2 \n", "3\n"),))


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (ADD, "add (statement: 1.00)"),
        (RENAMED, "add (tests: 1.00)"),
        (REORDERED, "add (tests: 1.00)"),
        (AS_CALLS, "add (tests: 1.00)"),
        (AS_CHECK, "add (tests: 1.00)"),
        (SAME_WORDS, "add (statement: 1.00)"),
    ],
)
def test_the_same_problem_in_another_guise_is_found(problem: Problem, why: str) -> None:
    kept, dropped = drop_duplicates([Entry("set", 1, ADD), Entry("set", 2, problem)], NEAR)
    assert [entry.line for entry in kept] == [1]
    assert [(item.line, item.reason) for item in dropped] == [(2, f"duplicate: of {why}")]


def test_line_ends_do_not_make_a_test_another() -> None:
    other = replace(READS, id="again", statement="Say it.", tests=(TestCase("stdin", "1\r\n2", "3"),))
    assert (
        drop_duplicates([Entry("set", 1, READS), Entry("set", 2, other)], NEAR)[1][0].reason
        == "duplicate: of reads (tests: 1.00)"
    )


def test_one_of_four_tests_in_common_is_another_problem() -> None:
    kept, dropped = drop_duplicates([Entry("set", 1, ADD), Entry("set", 2, OTHER)], NEAR)  # 1 of 4: 0.25
    assert (len(kept), dropped) == (2, [])
    assert len(drop_duplicates([Entry("set", 1, ADD), Entry("set", 2, OTHER)], Near(statement=0.9, tests=0.25))[1]) == 1


def test_a_problem_of_an_evaluation_set_is_left_out() -> None:
    quoting = replace(OTHER, id="quoting", statement=f"Hello. {ADD.statement[:66]} and so on.")
    kept, dropped = drop_contaminated(
        [Entry("set", 1, RENAMED), Entry("set", 2, OTHER), Entry("set", 3, quoting), Entry("set", 4, READS)],
        [ADD],
        NEAR,
    )
    assert [entry.problem.id for entry in kept] == ["other", "reads"]
    assert [(item.id, item.reason) for item in dropped] == [
        ("renamed", "contaminated: by add (tests: 1.00)"),
        # ten words in a row: the first of those that both hold
        ("quoting", "contaminated: by add (words: a function that adds two given numbers and returns what)"),
    ]


def test_what_many_evaluation_problems_say_is_no_contamination() -> None:
    phrase = "Name the function as you like, it is called with one argument and returns another."
    evaluation = [
        replace(ADD, id=str(n), statement=f"Do {n}. {phrase}", tests=asserts(f"assert add({n}) == {n + 100}"))
        for n in range(3)
    ]
    mine = replace(OTHER, statement=f"Something else entirely, in quite a few more words than that. {phrase}")
    assert drop_contaminated([Entry("set", 1, mine)], evaluation[:2], NEAR)[1] != []
    assert drop_contaminated([Entry("set", 1, mine)], evaluation, NEAR)[1] == []


VOCABULARY = ["sum", "list", "number", "string", "sorted", "first", "last", "even", "odd", "of", "a", "the"]
words = st.lists(st.sampled_from(VOCABULARY), min_size=1)
problems = st.builds(
    lambda text, numbers: Problem(
        "p", " ".join(text), "", tuple(TestCase("call", f"[{n}]", f"{n % 3}") for n in numbers), entry_point="f"
    ),
    words,
    st.lists(st.integers(0, 9), min_size=1),
)


@settings(max_examples=40)
@given(st.lists(problems, max_size=8))
def test_nothing_gets_lost_and_what_stays_has_no_duplicate(found: list[Problem]) -> None:
    entries = [Entry("set", line, replace(problem, id=f"p{line}")) for line, problem in enumerate(found, 1)]
    kept, dropped = drop_duplicates(entries, NEAR)
    assert sorted([*(entry.line for entry in kept), *(item.line for item in dropped)]) == [e.line for e in entries]
    assert drop_duplicates(kept, NEAR) == (kept, [])
    twice = [*entries, *(Entry("set", e.line + 100, replace(e.problem, id=f"{e.problem.id}'")) for e in entries)]
    assert drop_duplicates(twice, NEAR)[0] == kept
