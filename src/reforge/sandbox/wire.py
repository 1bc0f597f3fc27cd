"""Typed JSON: how plain values cross between the processes. Only data passes, never an object with behaviour.

None, bool, int, float, str and list are themselves; the rest is `{"$": <type>, "v": ...}`. A JSON object without "$"
reads as a dict with string keys. Instances of subclasses (Counter, namedtuple, IntEnum …) are reduced to the builtin
type by that type's own methods, which the subclass cannot override.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

MAX_DEPTH = 100  # of a value that a program returns
MESSAGE_DEPTH = MAX_DEPTH + 4  # of a message of ours with such values in it
_MOST_ALIKE = 100  # members of one set, or keys of one dict, with the same hash: more would take quadratic time
# ~4200 digits, below the interpreter's own limit for converting from text. Longer integers cross as hexadecimal digits,
# which takes linear time.
_DECIMAL_BITS = 14_000
_TAG = "$"


class NotPlainError(Exception):
    """A value that has no typed JSON; the message says what it is."""


def dumps(value: object, max_bytes: int, max_depth: int = MAX_DEPTH) -> str:
    """Typed JSON of a value. Raises NotPlainError for what is not plain data, too deep or longer than `max_bytes`."""
    text = json.dumps(_Encoder(max_bytes, max_depth).encode(value, 0))
    if len(text) > max_bytes:
        raise NotPlainError(f"a value of more than {max_bytes} bytes")
    return text


def loads(text: str) -> Any:
    """The value of a typed JSON text. Raises ValueError for anything malformed, however wild."""
    return build(parse(text))


def build(tree: Any, max_depth: int = MAX_DEPTH) -> Any:
    """The value of parsed typed JSON. Raises ValueError for anything malformed, deeper, or made to be slow to build."""
    try:
        return _build(tree, max_depth)
    except Exception as error:  # whoever wrote it chose what goes wrong
        raise ValueError(f"malformed typed JSON ({type(error).__name__})") from error


def parse(text: str | bytes) -> Any:
    """`json.loads`, but UTF-8 only, and raises ValueError for anything malformed, however deep."""
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except Exception as error:
        raise ValueError(f"malformed typed JSON ({type(error).__name__})") from error


def _refuse(value: object) -> NoReturn:
    raise NotPlainError(f"{_article(type(value).__name__)}, which is not plain data")


class _Encoder:
    def __init__(self, max_bytes: int, max_depth: int) -> None:
        self._longest = max_bytes
        self._deepest = max_depth
        self._left = max_bytes  # nodes, of which each takes a byte or more

    def encode(self, value: object, depth: int) -> Any:
        self._left -= 1  # a value shared by reference (a = [a, a]) can unfold to any size
        if self._left < 0:
            raise NotPlainError("a value that is too large")
        if depth > self._deepest:
            raise NotPlainError(f"a value nested more than {self._deepest} deep")
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


def _build(node: Any, left: int) -> Any:
    """`left`: how much deeper it may be."""
    if left < 0:
        raise ValueError("too deep")
    if type(node) is list:
        return [_build(item, left - 1) for item in node]
    if type(node) is not dict:
        return node
    if _TAG not in node:
        return {key: _build(item, left - 1) for key, item in node.items()}
    if len(node) != 2:
        raise ValueError("more than a type and its value")
    wanted, build = _BUILD[node[_TAG]]
    value = node["v"]
    if type(value) is not wanted:
        raise TypeError(f"{node[_TAG]} of a {type(value).__name__}")
    return build(value, left - 1)


def _items(nodes: list[Any], left: int) -> Iterator[Any]:
    return (_build(node, left) for node in nodes)


def _members(nodes: list[Any], left: int) -> list[Any]:
    """Of a set. Their hashes are compared by sorting, which takes the same time whatever they are."""
    members = list(_items(nodes, left))
    if len(members) > _MOST_ALIKE:
        hashes = sorted(map(hash, members))
        if any(one == other for one, other in zip(hashes, hashes[_MOST_ALIKE:], strict=False)):
            raise ValueError(f"more than {_MOST_ALIKE} members with the same hash")
    return members


def _mapping(pairs: list[Any], left: int) -> dict[Any, Any]:
    if any(type(pair) is not list for pair in pairs):
        raise TypeError("a pair that is none")
    keys = _members([key for key, _ in pairs], left)
    return dict(zip(keys, _items([value for _, value in pairs], left), strict=True))


def _complex(parts: list[Any], left: int) -> complex:
    real, imaginary = parts
    if {type(real), type(imaginary)} - {int, float}:
        raise TypeError("parts that are no numbers")
    return complex(real, imaginary)


# For each type what its value is written as, and how it is made from that.
_BUILD: dict[str, tuple[type, Callable[[Any, int], Any]]] = {
    "tuple": (list, lambda v, left: tuple(_items(v, left))),
    "dict": (list, _mapping),
    "set": (list, lambda v, left: set(_members(v, left))),
    "frozenset": (list, lambda v, left: frozenset(_members(v, left))),
    "int": (str, lambda v, left: int(v, 16)),
    "bytes": (str, lambda v, left: bytes.fromhex(v)),
    "complex": (list, _complex),
    "type": (str, lambda v, left: {kind.__name__: kind for kind in _TYPES}[v]),
}


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
