"""Rules that say when an answer is right. All see only text or plain builtin values, outside the program's process.

Tokens are compared as by testlib's wcmp and rcmp in one: words exact, integers exact, a tolerance only for expected
reals; for a real of few decimals it ends at half a unit of the last one. The `lcb` rules are LiveCodeBench's
(`testing_util.py`), false rejections included, for numbers that must be comparable.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from reforge.records import Checker

VERSION = 2  # the version of every rule here; part of each verdict
_LONGEST = 4000  # characters of a real; a longer one must be the same text
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ROUNDED = 3  # decimals; a number that shows so few was rounded to them, as an amount of money
_SLACK = 1e-15  # testlib's, so that the edge itself is right


def name_of(checker: Checker) -> str:
    tolerance = f"({checker.tolerance:g})" if checker.rule in ("tokens", "lines", "yesno") else ""
    return f"{checker.rule}{tolerance}/{VERSION}"


def same_output(expected: str, printed: str, checker: Checker = Checker()) -> bool:  # noqa: B008 - frozen
    """Return whether the output is right, by any rule but `program`."""
    match checker.rule:
        case "lcb":
            return _lcb_output(expected, printed)
        case "lines":  # blanks at the end of a line and empty lines at the end of the output do not count
            wanted, given = expected.rstrip().split("\n"), printed.rstrip().split("\n")
            pairs = zip(wanted, given, strict=False)
            return len(wanted) == len(given) and all(_same_tokens(*pair, checker.tolerance) for pair in pairs)
        case "yesno":
            return _same_tokens(_fold(expected), _fold(printed), checker.tolerance)
    return _same_tokens(expected, printed, checker.tolerance)


def _fold(text: str) -> str:
    return " ".join(token.lower() if token.lower() in ("yes", "no") else token for token in text.split())


def _same_tokens(expected: str, printed: str, tolerance: float) -> bool:
    wanted, given = expected.split(), printed.split()
    pairs = zip(wanted, given, strict=False)
    return len(wanted) == len(given) and all(_same_token(*pair, tolerance) for pair in pairs)


def _same_token(wanted: str, given: str, tolerance: float) -> bool:
    """Return whether the tokens are the same. A number is expected where a point or an exponent says so; anything else,
    integers with leading zeros or signs among them, is a word: `0011` may be a bit string, and `7` is no `007`.
    """
    if wanted == given:
        return True
    if max(len(wanted), len(given)) > _LONGEST or not ("." in wanted or "e" in wanted.lower()):
        return False
    if not _NUMBER.fullmatch(wanted) or not _NUMBER.fullmatch(given):
        return False
    expected, printed = float(wanted), float(given)
    if not (math.isfinite(expected) and math.isfinite(printed)):
        return False
    relative = (tolerance + _SLACK) * abs(expected)
    shown = len(wanted.partition(".")[2])
    if shown <= _ROUNDED and "e" not in wanted.lower():
        relative = min(relative, 0.5 * 10.0**-shown)
    return abs(expected - printed) <= max(tolerance + _SLACK, relative)


def _close(wanted: float, given: float, tolerance: float) -> bool:
    """Return whether the numbers are equal within the tolerance. NaN equals NaN only, an infinity itself only."""
    if math.isfinite(wanted) and math.isfinite(given):
        return abs(wanted - given) <= (tolerance + _SLACK) * max(1.0, abs(wanted))
    return wanted == given or (math.isnan(wanted) and math.isnan(given))


def _lcb_output(expected: str, printed: str) -> bool:
    wanted = [line.strip() for line in expected.strip().split("\n")]
    given = [line.strip() for line in printed.strip().split("\n")]
    if len(wanted) != len(given):
        return False
    return all(a == b or _lcb_decimals(a, b) for a, b in zip(wanted, given, strict=True))


def _lcb_decimals(wanted: str, given: str) -> bool:
    try:
        return [Decimal(token) for token in wanted.split()] == [Decimal(token) for token in given.split()]
    except InvalidOperation:
        return False


def same_value(expected: Any, returned: Any, checker: Checker = Checker()) -> bool:  # noqa: B008 - frozen
    """Return whether the values are equal with equal types: True is not 1, 1.0 is not 1. An expected float allows an
    int and a tolerance (not inside sets and keys); an expected list allows a tuple, because plain JSON has no other way
    to write one. By `lcb`: Python's equality, a tuple allowed at the top only.
    """
    if checker.rule == "lcb":
        return bool((list(returned) if type(returned) is tuple else returned) == expected)
    return _same(expected, returned, checker.tolerance)


def _same(expected: Any, returned: Any, tolerance: float) -> bool:
    kind = type(returned)
    if type(expected) is float and kind is int:
        return abs(returned) < 1 << 1000 and _close(expected, float(returned), tolerance)
    if type(expected) is list and kind is tuple:
        kind = list
    if type(expected) is not kind:
        return False
    if kind is float:
        return _close(expected, returned, tolerance)
    if kind is complex:
        parts = ((expected.real, returned.real), (expected.imag, returned.imag))
        return all(_close(*pair, tolerance) for pair in parts)
    if kind in (list, tuple):
        pairs = zip(expected, returned, strict=False)
        return len(expected) == len(returned) and all(_same(*pair, tolerance) for pair in pairs)
    if kind is dict:
        wanted, given = _by_exact_key(expected), _by_exact_key(returned)
        return wanted.keys() == given.keys() and all(_same(wanted[key], given[key], tolerance) for key in wanted)
    if kind in (set, frozenset):
        return set(map(_exact, expected)) == set(map(_exact, returned))
    return bool(expected == returned)


def _by_exact_key(items: dict[Any, Any]) -> dict[Any, Any]:
    return {_exact(key): value for key, value in items.items()}


def _exact(value: Any) -> Any:
    """Return a hashable stand-in that is equal only for equal types: to Python 1, 1.0 and True are one key."""
    if type(value) in (tuple, frozenset):
        return (type(value), type(value)(map(_exact, value)))
    return (type(value), value)
