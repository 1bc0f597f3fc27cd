"""Typed JSON: how plain values cross between the processes. Only data passes, never an object with behaviour.

None, bool, int, float, str and list are themselves; the rest is `{"$": <type>, "v": ...}`. A JSON object without "$"
reads as a dict with string keys. Instances of subclasses (Counter, namedtuple, IntEnum …) are reduced to the builtin
type by that type's own methods, which the subclass cannot override.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NoReturn

from reforge.sandbox.kinds import CONTAINERS, DECIMAL_BITS, IN_LISTS, SCALARS, NotPlainError, without_numpy

MAX_DEPTH = 100  # the depth of a value that a program returns
MESSAGE_DEPTH = MAX_DEPTH + 4  # the depth of a message of ours with such values in it
# Members of one set, or keys of one dict, with the same hash are all compared with each other, which takes quadratic
# time: so many there may be, and more than a few only where all of those together are short.
_MOST_ALIKE, _FEW_ALIKE, _SHORT = 100, 16, 1 << 18  # the last in characters
_TAG = "$"
_DEEPEST = 4 * MESSAGE_DEPTH  # brackets in each other: a pair in a dict in its typed JSON has three
_STEP = [1 if chr(code) in "[{" else -1 for code in range(256)]
_PIECE = 1 << 16
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def dumps(value: object, max_bytes: int, max_depth: int = MAX_DEPTH) -> str:
    """Return the typed JSON of a value. Raises NotPlainError for what is not plain data, too deep or longer than
    `max_bytes`."""
    text = json.dumps(_Encoder(max_bytes, max_depth).encode(value, 0))
    if len(text) > max_bytes:
        raise NotPlainError(f"a value of more than {max_bytes} bytes")
    return text


def loads(text: str) -> Any:
    """Return the value of a typed JSON text. Raises ValueError for anything malformed, however wild."""
    return build(parse(text))


def parse_long(text: str) -> Any:
    """Parse a text that is trusted: unlike in `parse`, integers may have many digits."""
    try:
        return json.loads(text, parse_int=lambda digits: int(Decimal(digits)) if len(digits) > 4000 else int(digits))
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise ValueError(f"malformed typed JSON ({type(error).__name__})") from error


def build(tree: Any, max_depth: int = MAX_DEPTH) -> Any:
    """Return the value of parsed typed JSON. Raises ValueError for anything malformed, deeper than `max_depth`, or made
    to be slow to build."""
    try:
        return _build(tree, max_depth)
    except Exception as error:  # whoever wrote it chose what goes wrong
        raise ValueError(f"malformed typed JSON ({type(error).__name__})") from error


def parse(text: str | bytes) -> Any:
    """Parse a text as `json.loads` does, but UTF-8 only, and raise ValueError for anything malformed, however deep. How
    deep it may be does not depend on the interpreter's limit, which whoever imports this may have raised beyond what
    the stack holds.
    """
    try:
        _check_depth(text.encode() if isinstance(text, str) else text)
        return json.loads(text if isinstance(text, str) else text.decode())
    except Exception as error:
        raise ValueError(f"malformed typed JSON ({type(error).__name__})") from error


def _check_depth(text: bytes) -> None:
    """Raise ValueError for brackets that are nested deeper than those of any message."""
    if text.count(b"[") + text.count(b"{") <= _DEEPEST:
        return
    unquoted = b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = unquoted.translate(None, _NO_BRACKETS)
    depth = 0
    for start in range(0, len(brackets), _PIECE):
        steps = map(_STEP.__getitem__, brackets[start : start + _PIECE])
        depths = list(itertools.accumulate(steps, initial=depth))
        if max(depths) > _DEEPEST:
            raise ValueError("too deep")
        depth = depths[-1]


def _refuse(value: object) -> NoReturn:
    raise NotPlainError(f"{_article(type(value).__name__)}, which is not plain data")


class _Encoder:
    def __init__(self, max_bytes: int, max_depth: int) -> None:
        self._longest = max_bytes
        self._deepest = max_depth
        self._left = max_bytes  # nodes that may follow: each takes a byte or more

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
        plain = without_numpy(value)
        if plain is not value:
            return self.encode(plain, depth)
        _refuse(value)

    def integer(self, value: Any, depth: int) -> Any:
        plain = int.__int__(value)
        bits = plain.bit_length()
        if bits <= DECIMAL_BITS:
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
    dict: _Encoder.mapping,
}
for _name, (_kind, _to, _) in SCALARS.items():
    _REDUCE[_kind] = lambda e, v, d, name=_name, to=_to: _tagged(name, to(v))  # type: ignore[misc]
for _name, (_kind, _held, _) in CONTAINERS.items():
    _REDUCE[_kind] = lambda e, v, d, name=_name, held=_held: _tagged(name, e.items(held(v), d))  # type: ignore[misc]


def _build(node: Any, left: int) -> Any:
    """Return the value of a node. `left`: how much deeper it may be."""
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
    """Return the members of a set. Their hashes are compared by sorting, which takes the same time whatever they are.
    Hashes that agree in their low bits only are harmless: 80,000 multiples of 2**18, 2**20, 2**40 or 2**60 make a set
    within 0.06 s.
    """
    return _told_apart(list(_items(nodes, left)), nodes)


def _told_apart(members: list[Any], nodes: list[Any]) -> list[Any]:
    if len(members) <= _FEW_ALIKE:
        return members
    hashes = list(map(hash, members))
    ordered = sorted(hashes)
    if any(one == other for one, other in zip(ordered, ordered[_MOST_ALIKE:], strict=False)):
        raise ValueError(f"more than {_MOST_ALIKE} members with the same hash")
    often = {one for one, other in zip(ordered, ordered[_FEW_ALIKE:], strict=False) if one == other}
    if often:
        alike = (node for node, found in zip(nodes, hashes, strict=True) if found in often)
        if sum(len(json.dumps(node)) for node in alike) > _SHORT:
            raise ValueError(f"more than {_FEW_ALIKE} long members with the same hash")
    return members


def _mapping(pairs: list[Any], left: int) -> dict[Any, Any]:
    if any(type(pair) is not list for pair in pairs):
        raise TypeError("a pair that is none")
    keys = _members([key for key, _ in pairs], left)
    return dict(zip(keys, _items([value for _, value in pairs], left), strict=True))


def _pairs(nodes: list[Any], left: int) -> Any:
    pairs = list(_items(nodes, left))
    _told_apart([key for key, _ in pairs], nodes)
    return dict(pairs).items()


def _complex(parts: list[Any], left: int) -> complex:
    real, imaginary = parts
    if {type(real), type(imaginary)} - {int, float}:
        raise TypeError("parts that are no numbers")
    return complex(real, imaginary)


# For each type the JSON type that its value is written as, and the function that makes the value from it.
_BUILD: dict[str, tuple[type, Callable[[Any, int], Any]]] = {
    "dict": (list, _mapping),
    "set": (list, lambda v, left: set(_members(v, left))),
    "frozenset": (list, lambda v, left: frozenset(_members(v, left))),
    "dict_keys": (list, lambda v, left: dict.fromkeys(_members(v, left)).keys()),
    "dict_items": (list, _pairs),
    "int": (str, lambda v, left: int(v, 16)),
    "complex": (list, _complex),
}
for _name, (_, _, _made) in SCALARS.items():
    _BUILD.setdefault(_name, (list if _name in IN_LISTS else str, lambda v, left, made=_made: made(v)))  # type: ignore[misc]
for _name, (_, _, _made) in CONTAINERS.items():
    _BUILD.setdefault(_name, (list, lambda v, left, made=_made: made(list(_items(v, left)))))  # type: ignore[misc]


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
