"""No family on both sides, whatever the families are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.errors import UserError
from reforge.problems.position import position
from reforge.problems.split import Split, in_order, split
from reforge.records import Problem


def problems(families: list[str]) -> list[Problem]:
    return [Problem(f"p{i}", "", "", (), family=family) for i, family in enumerate(families)]


def straddling(sides: Split) -> set[str]:
    """Families with a problem to train on and a held-out one."""
    return {problem.family for problem in sides.train} & {problem.family for problem in sides.heldout}


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), st.integers(1, 20), st.integers(1, 8), st.randoms()
)
def test_no_family_straddles_and_nothing_is_lost(families: list[str], train: int, heldout: int, shuffle) -> None:
    given_problems = problems(families)
    try:
        sides = split(given_problems, train, heldout)
    except UserError:
        return
    assert straddling(sides) == set()
    assert (len(sides.train), len(sides.heldout)) == (train, heldout)
    everything = [*sides.train, *sides.heldout, *sides.surplus]
    assert sorted(problem.id for problem in everything) == sorted(problem.id for problem in given_problems)
    shuffle.shuffle(given_problems)
    assert split(given_problems, train, heldout) == sides


def test_the_check_sees_a_straddling_family() -> None:
    one, two = problems(["a", "a"])
    assert straddling(Split([one], [two], [])) == {"a"}


def test_a_set_whose_families_are_single_problems_is_used_to_the_last_one() -> None:
    sides = split(problems([f"f{i}" for i in range(164)]), 100, 64)
    assert (len(sides.train), len(sides.heldout), sides.surplus) == (100, 64, [])
    highest = max(position(problem.family) for problem in sides.heldout)
    assert all(position(problem.family) > highest for problem in sides.train)


def test_the_rest_of_the_last_held_out_family_is_not_trained_on() -> None:
    low, high = sorted("ab", key=position)
    sides = split(problems([low] * 3 + [high] * 2), train=2, heldout=1)
    assert [problem.family for problem in sides.surplus] == [low, low]
    assert straddling(sides) == set()


def test_a_position_does_not_depend_on_the_process() -> None:
    assert position("list.sort") == pytest.approx(0x3EC4 / 2**16, abs=2**-16)


def test_too_few_problems() -> None:
    with pytest.raises(UserError, match=r"5 problems are left.*curate\.\*\.train=3"):
        split(problems(list("abcde")), 4, 2)
    with pytest.raises(UserError, match=r"curate\.\*\.train=18 curate\.\*\.heldout=2\)"):
        split(problems([str(i) for i in range(20)]), 800, 100)
    with pytest.raises(UserError, match=r"families that 1 held-out problems belong to leave 0"):
        split(problems(["a"] * 9), 4, 1)


def dated(*days: int) -> list[Problem]:
    return [Problem(f"p{number}", "", "", (), date=f"2024-05-{day:02}") for number, day in enumerate(days)]


def test_by_date_nothing_held_out_is_older_than_what_is_trained_on() -> None:
    problems = dated(1, 9, 3, 7, 5, 7)
    sides = split(problems, None, 2, "date")
    assert sorted(problem.date[-2:] for problem in sides.heldout + sides.surplus) == ["07", "07", "09"]
    assert sorted(problem.date[-2:] for problem in sides.train) == ["01", "03", "05"]
    with pytest.raises(UserError, match="only 3 came out before 2024-05-07"):
        split(problems, 4, 2, "date")
    with pytest.raises(UserError, match="1 of 3 problems have no date, such as q"):
        split([*dated(1, 2), Problem("q", "", "", ())], None, 1, "date")


def test_no_wanted_number_takes_all_that_are_not_held_out() -> None:
    problems = [Problem(str(number), "", "", (), family=str(number)) for number in range(20)]
    sides = split(problems, None, 5)
    assert (len(sides.train), len(sides.heldout), sides.surplus) == (15, 5, [])
    with pytest.raises(
        UserError, match=r"curate\.\*\.train=null and curate\.\*\.heldout=20 are wanted, but 20 problems are left"
    ):
        split(problems, None, 20)


def test_the_curriculum_begins_with_the_easiest() -> None:
    problems = [Problem(str(number), "", "", (), difficulty=grade) for number, grade in enumerate((3, 1, 2, 1))]
    assert [problem.id for problem in in_order(problems, "easiest_first")] == ["1", "3", "2", "0"]
    assert in_order(problems, "mixed") == problems
    ungraded = Problem("u", "", "", ())
    assert in_order([ungraded, *problems], "easiest_first")[-1] == ungraded
    with pytest.raises(UserError, match="no problem has a grade"):
        in_order([ungraded], "easiest_first")
