"""Typed JSON: how plain values cross between the processes. Only data passes, never an object with behaviour.

None, bool, int, float, str and list are themselves; the rest is `{"$": <type>, "v": ...}`. A JSON object without "$"
reads as a dict with string keys. Instances of subclasses (Counter, namedtuple, IntEnum …) are reduced to the builtin
type by that type's own methods, which the subclass cannot override.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 100
# ~4200 digits, below the interpreter's own limit for converting from text. Longer integers cross as hexadecimal digits,
# which takes linear time.
_DECIMAL_BITS = 14_000
_TAG = "$"


class NotPlainError(Exception):
    """A value that has no typed JSON; the message says what it is."""


def dumps(value: object, max_bytes: int) -> str:
    """Typed JSON of a value. Raises NotPlainError for what is not plain data, too deep or longer than `max_bytes`."""
    text = json.dumps(_Encoder(max_bytes).encode(value, 0))
    if len(text) > max_bytes:
        raise NotPlainError(f"a value of more than {max_bytes} bytes")
    return text


def loads(text: str) -> Any:
    """The value of a typed JSON text. Raises ValueError for anything malformed, however wild."""
    return build(parse(text))


def build(tree: Any) -> Any:
    """The value of parsed typed JSON. Raises ValueError for anything malformed."""
    try:
        return _build(tree, 0)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"malformed typed JSON ({type(error).__name__})") from error


def parse(text: str) -> Any:
    """`json.loads`, but raises ValueError for anything malformed, however deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"malformed typed JSON ({type(error).__name__})") from error


def _refuse(value: object) -> NoReturn:
    raise NotPlainError(f"{_article(type(value).__name__)}, which is not plain data")


class _Encoder:
    def __init__(self, max_bytes: int) -> None:
        self._longest = max_bytes
        self._left = max_bytes  # nodes, of which each takes a byte or more

    def encode(self, value: object, depth: int) -> Any:
        self._left -= 1  # a value shared by reference (a = [a, a]) can unfold to any size
        if self._left < 0:
            raise NotPlainError("a value that is too large")
        if depth > MAX_DEPTH:
            raise NotPlainError(f"a value nested more than {MAX_DEPTH} deep")
        if value is None or value is True or value is False:
            return value
        for base in type.mro(type(value)):
            if base in _REDUCE:
                return _REDUCE[base](self, value, depth + 1)
        _refuse(value)

    def integer(self, value: Any, depth: int) -> Any:
        plain = int.__int__(value)
        bits = plain.bit_length()
        if bits <= _DECIMAL_BITS:
            return plain
        if bits > 4 * self._longest:
            raise NotPlainError(f"an integer of {bits} bits")
        return _tagged("int", hex(plain))

    def items(self, values: Any, depth: int) -> list[Any]:
        return [self.encode(item, depth) for item in values]

    def mapping(self, value: Any, depth: int) -> dict[str, Any]:
        return _tagged("dict", [[self.encode(k, depth), self.encode(v, depth)] for k, v in dict.items(value)])


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {_TAG: kind, "v": value}


_REDUCE: dict[type, Callable[[_Encoder, Any, int], Any]] = {
    int: _Encoder.integer,
    float: lambda e, v, d: float.__float__(v),
    str: lambda e, v, d: str.__str__(v),
    list: lambda e, v, d: e.items(list.__iter__(v), d),
    tuple: lambda e, v, d: _tagged("tuple", e.items(tuple.__iter__(v), d)),
    dict: _Encoder.mapping,
    set: lambda e, v, d: _tagged("set", e.items(set.__iter__(v), d)),
    frozenset: lambda e, v, d: _tagged("frozenset", e.items(frozenset.__iter__(v), d)),
    bytes: lambda e, v, d: _tagged("bytes", bytes.hex(v)),
    complex: lambda e, v, d: _tagged("complex", [complex.__complex__(v).real, complex.__complex__(v).imag]),
    type: lambda e, v, d: _tagged("type", _builtin_name(v)),
}
_TYPES = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, object, type(None))


def _builtin_name(kind: object) -> str:
    for builtin in _TYPES:
        if kind is builtin:  # not `==`, which a metaclass may answer
            return builtin.__name__
    raise NotPlainError("a class of its own, which is not plain data")


def _build(node: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if type(node) is list:
        return [_build(item, depth + 1) for item in node]
    if type(node) is not dict:
        return node
    if _TAG not in node:
        return {key: _build(item, depth + 1) for key, item in node.items()}
    return _BUILD[node[_TAG]](node["v"], depth + 1)


_BUILD: dict[str, Callable[[Any, int], Any]] = {
    "tuple": lambda v, d: tuple(_build(item, d) for item in v),
    "dict": lambda v, d: {_build(key, d): _build(item, d) for key, item in v},
    "set": lambda v, d: {_build(item, d) for item in v},
    "frozenset": lambda v, d: frozenset(_build(item, d) for item in v),
    "int": lambda v, d: int(v, 16),
    "bytes": lambda v, d: bytes.fromhex(v),
    "complex": lambda v, d: complex(*v),
    "type": lambda v, d: {kind.__name__: kind for kind in _TYPES}[v],
}


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
