import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.sandbox.checkers import same_output, same_value

# The table of shared errors of published graders: each "wrong" pair is accepted by at least one of them.
RIGHT = [
    ("YES\n", "YES"),
    ("1 2\n3\n", "1 2 3"),  # tokens over the whole output: line breaks are not judged
    ("5", " 5  \n\n"),
    ("007", "7"),
    ("0.3333333333", "0.333333"),
    ("1.0", "1"),
    ("1e3", "1000.0005"),
    ("-0.0", "0"),
    ("", ""),
]
WRONG = [
    ("YES", "NO"),
    ("YES", "yes"),
    ("YES", "5"),
    ("NO", "YES NO"),
    ("1\n2", "1"),
    ("1", "1\n2"),
    ("1 2", "2 1"),
    ("1 1 2", "1 2"),
    ("1000000007", "1000000008"),
    ("9007199254740993", "9007199254740992"),  # equal as floats
    ("0", "0.0001"),
    ("5", "5.0"),
    ("5.0", "nan"),
    ("5.0", "1_000"),
    ("1.5", "inf"),
    ("1000", "1_000"),
    ("1.0", "1.00001"),
    ("1e400", "2e400"),
    ("x", ""),
    ("12", "１２"),  # digits to Python's int(), not to ours
]


@pytest.mark.parametrize(("expected", "printed"), RIGHT)
def test_right_outputs_are_accepted(expected: str, printed: str) -> None:
    assert same_output(expected, printed)


@pytest.mark.parametrize(("expected", "printed"), WRONG)
def test_wrong_outputs_are_rejected(expected: str, printed: str) -> None:
    assert not same_output(expected, printed)


def test_integers_beyond_the_digit_cap_are_compared_as_text() -> None:
    long = "7" * 100_000
    assert same_output(long, long)
    assert not same_output(long, "0" + long)
    assert not same_output(long, long[:-1] + "8")


@given(st.integers(), st.integers())
def test_integers_are_exact(a: int, b: int) -> None:
    assert same_output(str(a), str(b)) == (a == b)


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        (3, 3),
        (True, True),
        (None, None),
        ([1, [2]], (1, (2,))),  # JSON has no tuples
        ((1, 2), (1, 2)),
        (0.1 + 0.2, 0.3),
        (2.0, 2),
        (1e9, 1e9 + 1),
        (math.nan, math.nan),
        (-math.inf, -math.inf),
        ({"a": [1.0]}, {"a": [1.0000001]}),
        ({1, (2, 3)}, {(2, 3), 1}),
        (1 + 2j, 1 + 2.0000001j),
    ],
)
def test_equal_values(expected: object, returned: object) -> None:
    assert same_value(expected, returned)


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        (1, True),
        (True, 1),
        (1, 1.0),
        (1.0, True),
        (1.0, "1.0"),
        (1.0, 10**400),
        (1.0, 1.00001),
        (math.inf, -math.inf),
        (1.0, math.nan),
        (math.nan, 1.0),
        (math.inf, 10**300),
        ((1, 2), [1, 2]),  # a tuple was asked for in so many words
        ([1, 2], [1, 2, 3]),
        ([1, 2], [2, 1]),
        ([1], {1}),
        ("ab", b"ab"),
        (None, 0),
        ("", None),
        ({1}, {True}),
        ({1: 2}, {1.0: 2}),
        ({(1,): 2}, {(True,): 2}),
        ({1}, frozenset({1})),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}),
    ],
)
def test_different_values(expected: object, returned: object) -> None:
    assert not same_value(expected, returned)
