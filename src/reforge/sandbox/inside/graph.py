"""Values with sharing and cycles, as they cross between the tests' process and the program's.

A graph is `{"root": item, "nodes": [node, …], "states": [[number, node], …]}`. An item is a JSON scalar, a scalar of
typed JSON, or `[number]`, a node's. An answer goes on counting where its question ended: smaller numbers name objects
of the question, and `states` are what has become of those that were changed.
"""

from __future__ import annotations

import enum
import json
import marshal
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

from reforge.sandbox import wire
from reforge.sandbox.kinds import CONTAINER_OF, CONTAINERS, SCALARS, NotPlainError, without_numpy

_DEEPEST = 150  # depth of tuples and the like in each other: they cannot be made before what they hold
_SHORT = 1 << 62  # smaller integers are themselves in typed JSON, as many larger ones are
_SHELLS: dict[str, type] = {"list": list, "dict": dict, "set": set, "deque": deque, "bytearray": bytearray}


class Names(Protocol):
    """The names by which a side knows what is no plain data."""

    classes: dict[str, type]  # classes whose instances cross by value

    def refer(self, value: object) -> list[Any]: ...

    def referred(self, node: list[Any]) -> Any: ...


def encode(root: object, names: Names, max_bytes: int, seen: list[Any], nodes: list[Any]) -> dict[str, Any]:
    """Return a value as a graph. `seen` are the objects of the question and `nodes` what they were; both grow by what
    is new. Raises NotPlainError for what cannot cross or is too large."""
    return _Encoder(names, max_bytes, seen).graph(root, nodes)


class _Encoder:
    def __init__(self, names: Names, max_bytes: int, seen: list[Any]) -> None:
        self._names, self._left, self._seen = names, max_bytes, seen
        self._numbers = {id(value): number for number, value in enumerate(seen)}

    def graph(self, root: object, nodes: list[Any]) -> dict[str, Any]:
        known = len(nodes)
        root_item, states = self.item(root), []
        number = 0
        while number < len(self._seen):
            if number >= known:
                nodes.append(self.node(self._seen[number]))
            elif nodes[number][0] in _SHELLS or nodes[number][0] == "object":
                now = self.node(self._seen[number])
                if _exactly(now) != _exactly(nodes[number]):
                    nodes[number] = now
                    states.append([number, now])
            number += 1
        return {"root": root_item, "nodes": nodes[known:], "states": states}

    def item(self, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise NotPlainError("a value that is too large")
        value = without_numpy(value)
        kind = type(value)
        if value is None or kind in (bool, float) or (kind is int and -_SHORT < value < _SHORT):
            return value
        if kind is str:
            self._left -= len(value)
            return value
        if self._named(kind) is None and kind is not bytearray:
            for base in type.mro(kind):
                if base in (int, str, float) or (base in _SCALAR_TYPES and base is not bytearray):
                    try:
                        text = wire.dumps(value, self._left + 1)
                    except NotPlainError:
                        if base is type:  # a class of its own
                            break
                        raise
                    self._left -= len(text)
                    return json.loads(text)
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._seen)
            self._seen.append(value)
        return [number]

    def _named(self, kind: type) -> str | None:
        """Return the name of a class whose instances cross by value, None for any other class."""
        name = kind.__name__
        return name if self._names.classes.get(name) is kind else None

    def node(self, value: Any) -> list[Any]:
        kind = type(value)
        name = self._named(kind)
        if name is not None:
            if issubclass(kind, enum.Enum):
                return ["member", name, value._name_]
            if issubclass(kind, tuple):
                return ["record", name, [self.item(item) for item in tuple.__iter__(value)]]
            if not issubclass(kind, BaseException):
                return ["object", name, [[key, self.item(held)] for key, held in _attributes(value).items()]]
        for base in type.mro(kind):
            if base is list:
                return ["list", [self.item(item) for item in list.__iter__(value)]]
            if base is dict:
                return ["dict", [[self.item(key), self.item(held)] for key, held in dict.items(value)]]
            if base is bytearray:
                return ["bytearray", bytearray.hex(value)]
            if base in CONTAINER_OF:
                held = CONTAINERS[CONTAINER_OF[base]][1]
                return [CONTAINER_OF[base], [self.item(item) for item in held(value)]]
        return self._names.refer(value)


def _exactly(node: list[Any]) -> bytes:
    """Return bytes that differ for what is only equal, such as 1, 1.0 and True (2: without references to objects)."""
    return marshal.dumps(node, 2)


_SCALAR_TYPES = {kind for kind, _, _ in SCALARS.values()}


def _attributes(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in type.mro(type(value)):
        slots = kind.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                try:
                    found[name] = object.__getattribute__(value, name)
                except AttributeError:
                    continue
    with suppress(AttributeError):
        found |= object.__getattribute__(value, "__dict__")
    return found


def is_method(kind: type, name: str) -> bool:
    """Return whether the class has a method of this name, which an attribute of its instance would hide."""
    found = next((base.__dict__[name] for base in type.mro(kind) if name in base.__dict__), None)
    return hasattr(type(found), "__get__") and not hasattr(type(found), "__set__")


def build(graph: Any, names: Names, seen: list[Any], nodes: list[Any]) -> Any:
    """Return the root of a graph. `seen` and `nodes` grow by what is new. Raises ValueError for anything malformed."""
    try:
        return _Builder(names, seen, nodes).graph(graph)
    except Exception as error:
        raise ValueError(f"malformed graph ({type(error).__name__})") from error


class _Builder:
    def __init__(self, names: Names, seen: list[Any], nodes: list[Any]) -> None:
        self._names, self._seen, self._nodes = names, seen, nodes
        self._made: set[int] = set(range(len(seen)))

    def graph(self, graph: dict[str, Any]) -> Any:
        known = len(self._nodes)
        self._nodes += graph["nodes"]
        self._seen += [None] * len(graph["nodes"])
        later = []
        for number in range(known, len(self._nodes)):
            node = self._nodes[number]
            if node[0] in _SHELLS:
                self._seen[number] = deque(maxlen=self._item(node[1][0])) if node[0] == "deque" else _SHELLS[node[0]]()
            elif node[0] == "object":
                kind = self._names.classes[node[1]]
                self._seen[number] = object.__new__(kind)
            else:
                continue
            self._made.add(number)
            later.append(number)
        for number, node in graph["states"]:
            if node[0] != self._nodes[number][0] or number >= known:
                raise ValueError("a state of another kind")
            self._nodes[number] = node
            later.append(number)
        for hashed in (False, True):  # what others are hashed by is there first
            for number in later:
                if (self._nodes[number][0] in ("set", "dict")) is hashed:
                    self._fill(self._seen[number], self._nodes[number])
        for number in range(known, len(self._nodes)):
            self._at(number, 0)
        return self._item(graph["root"])

    def _item(self, item: Any, depth: int = 0) -> Any:
        if type(item) is list:
            (number,) = item
            return self._at(number, depth)
        return wire.build(item) if type(item) is dict else item

    def _at(self, number: int, depth: int) -> Any:
        if number not in self._made:
            if depth > _DEEPEST or number < 0:
                raise ValueError("too deep")
            self._seen[number] = self._immutable(self._nodes[number], depth + 1)
            self._made.add(number)
        return self._seen[number]

    def _immutable(self, node: list[Any], depth: int) -> Any:
        kind = node[0]
        if kind == "record":
            return tuple.__new__(self._names.classes[node[1]], [self._item(item, depth) for item in node[2]])
        if kind == "member":
            return self._names.classes[node[1]][node[2]]  # type: ignore[index]
        if kind in CONTAINERS:
            return CONTAINERS[kind][2]([self._item(item, depth) for item in node[1]])
        return self._names.referred(node)

    def _fill(self, shell: Any, node: list[Any]) -> None:
        kind, content = node[0], node[-1]
        if kind == "bytearray":
            shell[:] = bytes.fromhex(content)
        elif kind == "dict":
            pairs = [(self._item(key), self._item(value)) for key, value in content]
            shell.clear()
            shell.update(pairs)
        elif kind == "object":
            values = {str(key): self._item(value) for key, value in content}
            if any(key.startswith("__") or is_method(type(shell), key) for key in values):
                raise ValueError("an attribute in place of a method")
            for key in _attributes(shell).keys() - values.keys():
                object.__delattr__(shell, key)
            for key, value in values.items():
                object.__setattr__(shell, key, value)
        else:
            items = [self._item(item) for item in (content[1:] if kind == "deque" else content)]
            shell.clear()
            shell.update(items) if kind == "set" else shell.extend(items)
