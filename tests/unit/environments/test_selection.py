from hypothesis import given
from hypothesis import strategies as st

from reforge.environments.selection import longest_inputs
from reforge.records import Problem, TestCase


def problem(*inputs: str) -> Problem:
    return Problem("p", "", "", tuple(TestCase("stdin", text, str(number)) for number, text in enumerate(inputs)))


def test_the_longest_in_their_old_order_and_of_equals_the_first() -> None:
    chosen = longest_inputs(problem("a", "ccc", "bb", "dd", "eeee"), 3)
    assert [test.expected for test in chosen.tests] == ["1", "2", "4"]


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20), st.integers(1, 25))
def test_what_is_left_out_is_never_longer(inputs: list[str], count: int) -> None:
    whole = problem(*inputs)
    chosen = longest_inputs(whole, count)
    assert len(chosen.tests) == min(count, len(inputs))
    left = set(whole.tests) - set(chosen.tests)
    assert all(len(out.input) <= len(test.input) for out in left for test in chosen.tests)
    assert longest_inputs(chosen, count) == chosen
