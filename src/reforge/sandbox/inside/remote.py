"""Objects of the other process. What is no plain data stays where it is and is known to the other side by a number;
whoever does something with it asks its owner, who may ask back.
"""

from __future__ import annotations

import builtins
import functools
import json
import os
import types
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from reforge.sandbox import wire
from reforge.sandbox.inside import graph
from reforge.sandbox.kinds import NotPlainError

_BYTES = 1 << 26
_SPECIAL = [
    "__len__", "__iter__", "__next__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__call__",
    "__bool__", "__str__", "__repr__", "__int__", "__float__", "__index__", "__hash__", "__abs__", "__neg__",
    "__pos__", "__invert__", "__round__", "__enter__", "__exit__", "__reversed__", "__eq__", "__ne__", "__lt__",
    "__le__", "__gt__", "__ge__", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__",
    "__rtruediv__", "__floordiv__", "__rfloordiv__", "__mod__", "__rmod__", "__pow__", "__rpow__", "__and__",
    "__rand__", "__or__", "__ror__", "__xor__", "__rxor__", "__matmul__", "__lshift__", "__rshift__", "__divmod__",
    "__iadd__", "__isub__", "__imul__",
]  # fmt: skip
_CONSTANTS = {"NotImplemented": NotImplemented, "Ellipsis": Ellipsis}
_SEEN_AS = {
    "generator": types.GeneratorType, "function": types.FunctionType, "type": type, "map": map, "filter": filter,
    "zip": zip, "enumerate": enumerate,
}  # fmt: skip
ERRORS = {kind: name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}


class Pipe(Protocol):
    received: int  # bytes of the last message

    def receive(self) -> dict[str, Any]: ...

    def send(self, kind: str, content: str) -> None: ...


def stop(pipe: Pipe, kind: str, error: BaseException) -> NoReturn:
    """Send what went wrong, and end this process."""
    pipe.send(kind, described(error))
    os._exit(1)


def described(error: BaseException) -> str:
    """Return [type, message] as JSON. A program may have written the exception's own methods."""
    try:
        return json.dumps([type(error).__name__[:500], str(error)[:500]])
    except BaseException:
        return '["Exception", ""]'


class Remote:
    """Stands for an object of the other process; made by `Peer` with the special methods that the object has."""

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> Any:
        return _ask(self, "__getattribute__", name)

    def __setattr__(self, name: str, value: object) -> None:
        _ask(self, "__setattr__", name, value)

    def __delattr__(self, name: str) -> None:
        _ask(self, "__delattr__", name)


def _ask(remote: Any, special: str, *arguments: object, **keywords: object) -> Any:
    peer: Peer = object.__getattribute__(remote, "_peer")
    return peer.ask(object.__getattribute__(remote, "_number"), special, arguments, keywords)


def _forwarded(special: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: object, **keywords: object) -> Any:
        return _ask(self, special, *arguments, **keywords)

    return method


@functools.cache
def _kind(name: str, special: tuple[str, ...]) -> type:
    methods: dict[str, Any] = {it: _forwarded(it) for it in special if it in _SPECIAL}
    methods["__bool__"] = _forwarded("__bool__")  # to be true is to decide, so the judge must know of it
    if "__eq__" in methods:
        methods.setdefault("__hash__", None)
    if name in _SEEN_AS:
        methods["__class__"] = _constant(_SEEN_AS[name])
    else:
        methods["__class__"] = property(lambda self: _ask(self, "__getattribute__", "__class__"))
    return type(name, (Remote,), methods)


def _constant(value: object) -> property:
    return property(lambda self: value)


class Peer:
    """One of the two sides. `allowed` says what the other side may do with an object of this one."""

    def __init__(self, pipe: Pipe, max_bytes: int, allowed: Callable[[object, str, tuple[Any, ...]], bool]) -> None:
        self.classes: dict[str, type] = {}
        self.answers = 0
        self.raised: list[BaseException] = []  # the other side's exceptions, as they were raised here
        self._pipe, self._max_bytes, self._allowed = pipe, max_bytes, allowed
        self._own: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._others: dict[int, Any] = {}
        self._errors: dict[int, type] = {}  # the other side's classes of exceptions
        self._exhausted: set[int] = set()  # iterators of the other side that have ended, and must not begin again

    # --- names of objects -------------------------------------------------------------------------------------------

    def refer(self, value: object) -> list[Any]:
        kind = type(value)
        for name, constant in _CONSTANTS.items():
            if value is constant:
                return ["constant", name]
        if issubclass(kind, Remote) and object.__getattribute__(value, "_peer") is self:
            return ["yours", object.__getattribute__(value, "_number")]
        number = self._numbers.get(id(value))
        if number is None:
            if not self._allowed(value, "", ()):
                wire.dumps(value, 100)  # raises, and says what it is
            number = self._numbers[id(value)] = len(self._own)
            self._own.append(value)
        if isinstance(value, type) and issubclass(value, Exception):
            return ["remote", number, "error", value.__name__, _builtin(value)]
        return ["remote", number, "object", kind.__name__[:60], _specials(kind)]

    def referred(self, node: list[Any]) -> Any:
        if node[0] == "constant":
            return _CONSTANTS[node[1]]
        number = node[1]
        if type(number) is not int or number < 0:
            raise ValueError("no number")
        if node[0] == "yours":
            return self._own[number]
        kind, name = node[2], str(node[3])
        if kind == "error":
            if number not in self._errors:
                self._errors[number] = type(name, (_error(node[4]),), {"_number": number})
            return self._errors[number]
        if number not in self._others:
            self._others[number] = _kind(name, tuple(node[4]))(self, number)
        return self._others[number]

    # --- questions and answers --------------------------------------------------------------------------------------

    def ask(self, number: int, special: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if special == "__next__" and number in self._exhausted:
            raise StopIteration
        seen: list[Any] = []
        nodes: list[Any] = []
        asked = graph.encode([list(arguments), keywords], self, _BYTES, seen, nodes)
        self._pipe.send("ask", json.dumps([number, special, asked]))
        while True:
            message = self._pipe.receive()
            if "ask" not in message:
                break
            self.serve(message["ask"])
        self.answers += 1
        if "threw" in message:
            self._throw(number, special, *message["threw"])
        try:
            return graph.build(message["value"], self, seen, nodes)
        except ValueError as error:
            self.raised.append(error)
            raise

    def _throw(self, number: int, special: str, shown: str, text: str, builtin: str, ancestry: list[Any]) -> None:
        if builtin == "StopIteration" and special == "__next__":
            self._exhausted.add(number)
            raise StopIteration
        kind: Any = next((self._known(it) for it in ancestry if self._known(it)), None) or _error(builtin)
        if issubclass(kind, (StopIteration, StopAsyncIteration)):  # inside `all(map(f, ...))` it would end the loop
            kind, text = RuntimeError, f"{shown}: {text}"
        try:
            error = kind(text)
        except Exception:  # a few take more than a message
            error = RuntimeError(f"{shown}: {text}")
        self.raised.append(error)
        raise error

    def _known(self, key: object) -> object:
        found = self._errors.get(key) if type(key) is int else self.classes.get(str(key))
        return found if isinstance(found, type) and issubclass(found, BaseException) else None

    def serve(self, asked: list[Any]) -> None:
        """Answer one question of the other side about an object of this one."""
        seen: list[Any] = []
        nodes: list[Any] = []
        longest = self._max_bytes + 2 * self._pipe.received  # what it got, it may hand back
        try:
            number, special, question = asked
            target = self._own[number] if number >= 0 else None
            arguments, keywords = graph.build(question, self, seen, nodes)
            if not self._allowed(target, special, tuple(arguments)):
                raise TypeError(f"{special} of this object is not for the other side")
            value = _done(target, special, arguments, keywords)
            text = json.dumps(graph.encode(value, self, longest, seen, nodes))
            if len(text) > longest:
                raise NotPlainError(f"a value of more than {longest} bytes")
        except BaseException as error:
            self._pipe.send("threw", json.dumps(self._described(error)))
        else:
            self._pipe.send("value", text)

    def _described(self, error: BaseException) -> list[Any]:
        ancestry: list[Any] = []
        for kind in type.mro(type(error)):
            if id(kind) in self._numbers:
                ancestry.append(self._numbers[id(kind)])
            elif self.classes.get(kind.__name__) is kind:
                ancestry.append(kind.__name__)
        try:
            text = str(error)[:500]
        except BaseException:
            text = ""
        text = text.encode(errors="replace").decode()
        return [type(error).__name__[:60].encode(errors="replace").decode(), text, _builtin(type(error)), ancestry]


def _specials(kind: type) -> list[str]:
    if kind not in _KNOWN:
        return [name for name in _SPECIAL if _has(kind, name)]
    return _KNOWN[kind]


def _has(kind: type, special: str) -> bool:
    for base in type.mro(kind):
        if special in base.__dict__:
            return base is not object and base.__dict__[special] is not None
    return False


_UNCHANGING = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type)
_KNOWN = {kind: [name for name in _SPECIAL if _has(kind, name)] for kind in _UNCHANGING}


def _builtin(kind: type) -> str:
    """Return the nearest builtin exception among a class's ancestors, by identity: a class of the same name is a
    different one."""
    return next((ERRORS[base] for base in type.mro(kind) if base in ERRORS), "RuntimeError")


def _error(name: object) -> type[Exception]:
    found = getattr(builtins, str(name), None)
    if not isinstance(found, type) or not issubclass(found, Exception):
        return RuntimeError
    return found


def _done(target: Any, special: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    if special == "__call__":
        return target(*arguments, **keywords)
    if special == "__getattribute__":
        return getattr(target, *arguments)
    if special == "__bool__":
        return bool(target)
    if special == "__setattr__":
        return setattr(target, *arguments)
    if special == "__delattr__":
        return delattr(target, *arguments)
    return getattr(type(target), special)(target, *arguments, **keywords)


def everything(value: object, special: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether the tests may do this with an object of the program: they may do anything, but there is nothing to
    do with a bare `object()`."""
    return type(value) is not object


def of_a_test(value: object, special: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether the program may do this with an object of a test: it may call what it was given to call, iterate,
    and use what is public of the test's own classes, whose methods stay as they are. No way leads from there to the
    frames and globals of the tests.
    """
    kind = type(value)
    own = kind.__module__ == "tests" and not issubclass(kind, type)
    if special == "__getattribute__" or special == "__setattr__":
        public = own and type(arguments[0]) is str and not arguments[0].startswith("_")
        return public and not (special == "__setattr__" and graph.is_method(kind, arguments[0]))
    if special == "":
        return own or callable(value) or hasattr(kind, "__next__")
    return special in _SPECIAL
