"""Plain values beyond JSON: how each builtin or library type is written as JSON and made again from it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

_FRACTION_BITS = 1 << 16  # in either part of a fraction: reducing longer ones takes time that is not the program's
_DECIMAL_DIGITS = 1 << 16
# ~4200 digits, below the interpreter's own limit for converting from text. Longer integers cross as hexadecimal digits,
# which takes linear time.
DECIMAL_BITS = 14_000
TYPES = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, object, type(None))


class NotPlainError(Exception):
    """The error for a value that has no typed JSON; the message says what the value is."""


def _builtin_name(kind: object) -> str:
    for builtin in TYPES:
        if kind is builtin:  # not `==`, which a metaclass may answer
            return builtin.__name__
    raise NotPlainError("a class of its own, which is not plain data")


def _fraction(value: Any) -> list[str]:
    parts = int.__int__(value._numerator), int.__int__(value._denominator)
    if max(part.bit_length() for part in parts) > _FRACTION_BITS:
        raise NotPlainError("a fraction of very long integers")
    return [hex(part) for part in parts]


def _made_fraction(parts: Any) -> Fraction:
    numerator, denominator = (_bounded(part, _FRACTION_BITS // 4 + 8) for part in parts)
    return Fraction(int(numerator, 16), int(denominator, 16))


def _decimal(value: Any) -> str:
    text = Decimal.__str__(value)
    if len(text) > _DECIMAL_DIGITS:
        raise NotPlainError("a decimal of very many digits")
    return text


def _made_decimal(text: Any) -> Decimal:
    made = Decimal(_bounded(text, _DECIMAL_DIGITS))
    if made.is_snan():
        raise ValueError("a NaN that raises when it is compared")
    return made


def _bounded(text: Any, longest: int) -> str:
    if type(text) is not str or len(text) > longest:
        raise ValueError("too long, or no text")
    return text


def _moment(value: Any) -> list[Any]:
    """Return date and time with a fixed offset from UTC, which is all that comparisons look at."""
    offset = datetime.utcoffset(value)
    plain = datetime.isoformat(datetime.replace(value, tzinfo=None))
    return [plain, None if offset is None else _span(offset), value.fold]


def _made_moment(v: Any) -> datetime:
    made = datetime.fromisoformat(v[0])
    return made.replace(tzinfo=None if v[1] is None else timezone(timedelta(*v[1])), fold=v[2])


def _clock(value: Any) -> list[Any]:
    offset = time.utcoffset(value)
    return [time.isoformat(time.replace(value, tzinfo=None)), None if offset is None else _span(offset)]


def _made_clock(v: Any) -> time:
    return time.fromisoformat(v[0]).replace(tzinfo=None if v[1] is None else timezone(timedelta(*v[1])))


def _span(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _range(value: Any) -> list[str]:
    return [hex(part) for part in (value.start, value.stop, value.step)]


def _made_range(parts: Any) -> range:
    start, stop, step = (int(_bounded(part, 1 << 16), 16) for part in parts)
    return range(start, stop, step)


# Types whose values hold no others: name → type, to JSON, from JSON.
SCALARS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "complex": (complex, lambda v: [complex.__complex__(v).real, complex.__complex__(v).imag], lambda v: complex(*v)),
    "type": (type, _builtin_name, lambda v: {kind.__name__: kind for kind in TYPES}[v]),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
    "range": (range, _range, _made_range),
    "decimal": (Decimal, _decimal, _made_decimal),
    "fraction": (Fraction, _fraction, _made_fraction),
    "datetime": (datetime, _moment, _made_moment),  # before its base class
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, _clock, _made_clock),
    "timedelta": (timedelta, _span, lambda v: timedelta(*v)),
}
IN_LISTS = {"complex", "range", "fraction", "datetime", "time", "timedelta"}  # the others are written as texts


# Types whose values hold others: name → type, list of what they hold, value of such a list.
CONTAINERS: dict[str, tuple[type, Callable[[Any], Any], Callable[[list[Any]], Any]]] = {
    "tuple": (tuple, tuple.__iter__, tuple),
    "set": (set, set.__iter__, set),
    "frozenset": (frozenset, frozenset.__iter__, frozenset),
    "deque": (deque, lambda v: [_maxlen(v), *deque.__iter__(v)], lambda items: deque(items[1:], items[0])),
    "dict_keys": (type({}.keys()), iter, lambda items: dict.fromkeys(items).keys()),
    "dict_values": (type({}.values()), iter, lambda items: dict(enumerate(items)).values()),
    "dict_items": (type({}.items()), iter, lambda items: dict(items).items()),
}
CONTAINER_OF = {kind: name for name, (kind, _, _) in CONTAINERS.items()}


def _maxlen(value: Any) -> Any:
    return deque.maxlen.__get__(value)


def without_numpy(value: object) -> object:
    """Return a scalar of numpy as the Python scalar that it stands for; anything else as it is."""
    numpy = sys.modules.get("numpy")
    generic = getattr(numpy, "generic", None)
    if isinstance(generic, type) and issubclass(type(value), generic):
        plain = generic.item(value)  # type: ignore[attr-defined]
        if not issubclass(type(plain), generic):
            return plain
    return value
