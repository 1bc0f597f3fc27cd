import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.records import Checker
from reforge.sandbox.checkers import name_of, same_output, same_value

# The table of shared errors of published graders: each "wrong" pair is accepted by at least one of them.
RIGHT = [
    ("YES\n", "YES"),
    ("1 2\n3\n", "1 2 3"),  # tokens over the whole output: line breaks are not judged
    ("5", " 5  \n\n"),
    ("0.3333333333", "0.333333"),
    ("0.333333", "0.3333333333"),
    ("0.100000000", "0.100001000"),  # the edge of 1e-6, which testlib's 1e-15 takes in
    ("0.1", "0.099999"),
    ("1000000.50", "1000000.5"),
    ("1000000.50", "1000000.504"),
    ("12345678.9", "12345678.93"),
    ("123456789.123456789", "123456789.2"),  # so many decimals were not rounded to: 6e-10 of it
    ("2.50e7", "25000020"),
    ("1.5", "+01.5"),
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
    ("0011", "11"),  # a bit string
    ("007", "7"),
    ("7", "007"),
    ("7", "+7"),
    ("+7", "7"),
    ("0", "-0"),
    ("1000000.50", "1000000.00"),  # half a unit of money is within 1e-6 of a million
    ("1000000.50", "1000000.51"),
    ("1000000.5", "1000000"),
    ("0.100000000", "0.100001001"),
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


# --- named rules --------------------------------------------------------------------------------------------------

LCB, LINES, YESNO = Checker("lcb"), Checker("lines"), Checker("yesno")


@pytest.mark.parametrize(
    ("checker", "expected", "printed", "right"),
    [
        # the reference table of graders, as LiveCodeBench's column has it
        (LCB, "YES", "NO", False),
        (LCB, "YES", "5", False),
        (LCB, "1\n2", "1", False),
        (LCB, "1", "1\n2", False),
        (LCB, "1\n2", "2\n1", False),
        (LCB, "1 1 2", "1 2", False),
        (LCB, "1000000007", "1000000008", False),
        (LCB, "0", "0.0001", False),
        (LCB, "0.3333333333", "0.333333", False),  # its false rejection, kept
        (LCB, "5", " 5  \n\n", True),
        (LCB, "5", "nan", False),
        (LCB, "1.0", "1.00", True),
        (LCB, "1000", "1_000", True),
        (LCB, "1\n2", "1\n\n2", False),
        (LCB, "1 2", "1  2.0", True),
        (LCB, "a b", "a  b", False),
        (LINES, "1 2\n3", "1 2\n3\n", True),
        (LINES, "1 2\n3", "1 2 3", False),
        (LINES, "1 2\n3", "1  2  \n3", True),
        (LINES, "1\n2", "1\n\n2", False),
        (LINES, "0.5", "0.5000001", True),
        (YESNO, "YES\nNO", "yes nO", True),
        (YESNO, "YES", "NO", False),
        (YESNO, "YES", "Y", False),
        (YESNO, "YES a", "yes A", False),
        (Checker("tokens", tolerance=0.01), "0.5", "0.509", True),
        (Checker("tokens", tolerance=0.0), "0.5", "0.5000000001", False),
        (Checker("tokens", tolerance=0.0), "0.5", "0.50", True),
        (LINES, "1000000.50", "1000000.00", False),
        (LINES, "0011", "11", False),
        (YESNO, "YES 007", "yes 7", False),
    ],
)
def test_named_rules(checker: Checker, expected: str, printed: str, right: bool) -> None:
    assert same_output(expected, printed, checker) is right


def test_lcb_rules_for_values_are_python_s_own() -> None:
    assert same_value([1, 2], (1, 2), LCB)
    assert not same_value([[1, 2]], [(1, 2)], LCB)  # at the top only
    assert same_value(1, True, LCB)
    assert not same_value(0.3, 0.1 + 0.2, LCB)


def test_every_rule_has_a_name_with_what_it_depends_on() -> None:
    assert name_of(Checker("tokens", 1e-4)) == "tokens(0.0001)/2"
    assert name_of(LCB) == "lcb/2"
