"""When an answer is right. Both checkers see only text or plain builtin values, outside the program's process."""

from __future__ import annotations

import math
import re
from typing import Any

TOLERANCE = 1e-6  # absolute, or relative to the expected number
_MAX_DIGITS = 4000  # of a number; anything longer must be the same text
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def same_output(expected: str, printed: str) -> bool:
    """Token by token over the whole output, as testlib does: integers exact, a tolerance only for expected reals."""
    wanted, given = expected.split(), printed.split()
    return len(wanted) == len(given) and all(map(_same_token, wanted, given))


def _same_token(wanted: str, given: str) -> bool:
    if wanted == given:
        return True
    if max(len(wanted), len(given)) > _MAX_DIGITS:
        return False
    if _INTEGER.fullmatch(wanted):
        return _INTEGER.fullmatch(given) is not None and int(wanted) == int(given)
    if _NUMBER.fullmatch(wanted) and _NUMBER.fullmatch(given):
        return math.isfinite(float(given)) and math.isfinite(float(wanted)) and _close(float(wanted), float(given))
    return False


def _close(wanted: float, given: float) -> bool:
    """NaN equals NaN only, an infinity itself only."""
    if math.isfinite(wanted) and math.isfinite(given):
        return abs(wanted - given) <= TOLERANCE * max(1.0, abs(wanted))
    return wanted == given or (math.isnan(wanted) and math.isnan(given))


def same_value(expected: Any, returned: Any) -> bool:
    """Equal with equal types: True is not 1, 1.0 is not 1. An expected float allows an int and a tolerance (not inside
    sets and keys); an expected list allows a tuple, because plain JSON has no other way to write one.
    """
    kind = type(returned)
    if type(expected) is float and kind is int:
        return abs(returned) < 1 << 1000 and _close(expected, float(returned))
    if type(expected) is list and kind is tuple:
        kind = list
    if type(expected) is not kind:
        return False
    if kind is float:
        return _close(expected, returned)
    if kind is complex:
        return _close(expected.real, returned.real) and _close(expected.imag, returned.imag)
    if kind in (list, tuple):
        return len(expected) == len(returned) and all(map(same_value, expected, returned))
    if kind is dict:
        wanted, given = _by_exact_key(expected), _by_exact_key(returned)
        return wanted.keys() == given.keys() and all(same_value(wanted[key], given[key]) for key in wanted)
    if kind in (set, frozenset):
        return set(map(_exact, expected)) == set(map(_exact, returned))
    return bool(expected == returned)


def _by_exact_key(items: dict[Any, Any]) -> dict[Any, Any]:
    return {_exact(key): value for key, value in items.items()}


def _exact(value: Any) -> Any:
    """A hashable stand-in that is equal only for equal types: to Python 1, 1.0 and True are one key."""
    if type(value) in (tuple, frozenset):
        return (type(value), type(value)(map(_exact, value)))
    return (type(value), value)
