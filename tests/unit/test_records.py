"""Attempts of several turns."""

from reforge.records import solved_by_attempt


def test_an_attempt_has_solved_its_problem_where_one_of_its_turns_has() -> None:
    turns = [("a", False), ("a", True), ("a", False), ("b", False), ("c", None), ("c", True), ("d", False), ("d", None)]
    assert solved_by_attempt(turns) == {"a": True, "b": False, "c": True, "d": None}
