"""The child's side of a sandbox process, once it is fenced in: run a program, or tests that call one.

Messages are lines of JSON on two pipes of its own; stdout is the program's. Whatever a program does in here, it can
make the parent receive no more than a value.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from reforge.sandbox import idioms, lcb, wire
from reforge.sandbox.kinds import NotPlainError

REQUESTS, ANSWERS = 3, 4  # descriptors
_ARGUMENTS_BYTES = 1 << 26  # of one call by a test; the tests are ours
_STEERING = (StopIteration, StopAsyncIteration)


class Channel:
    def __init__(self) -> None:
        self._rest = b""

    def receive(self) -> dict[str, Any]:
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            data = os.read(REQUESTS, 1 << 16)
            if not data:
                os._exit(0)  # the parent has finished with us
            parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        message: dict[str, Any] = json.loads(line.decode())
        return message

    def send(self, kind: str, content: str) -> None:
        """`content` is JSON already."""
        data = f'{{"{kind}": {content}}}\n'.encode()
        while data:
            data = data[os.write(ANSWERS, data) :]


def run(channel: Channel, role: str, value_bytes: int) -> None:
    """`role`: "program" or "tests". `value_bytes` bounds what a program may return."""
    job = channel.receive()
    if role == "tests":
        run_tests(channel, job)
    else:
        run_program(channel, job, value_bytes)


def run_program(channel: Channel, job: dict[str, Any], value_bytes: int) -> None:
    """With an entry point: define the program, then answer for ever. Without: it uses stdin and stdout, and ends. A
    preamble is LiveCodeBench's, whose grader does not mind how a program exits.
    """
    entry, source = job["entry"], job["program"]
    _write_files(job["files"])
    module = types.ModuleType("program" if entry else "__main__")
    module.__file__ = "program.py"
    sys.modules[module.__name__] = module
    try:
        compiled = lcb.compiled if job["preamble"] and not entry else partial(compile, mode="exec", dont_inherit=True)
        code = compiled(source.removeprefix("\ufeff"), "program.py")
    except BaseException as error:
        _stop(channel, "broken", error)
    try:
        exec(job["preamble"], module.__dict__)
        exec(code, module.__dict__)
        if not entry:
            _exit(0, module.__dict__, source)
        function = _entry_point(module.__dict__, entry)
    except BaseException as error:
        if isinstance(error, SystemExit) and not entry:
            _exit(0 if job["preamble"] else error.code, module.__dict__, source)
        _stop(channel, "raised", error)
    channel.send("loaded", "true")
    while True:
        _answer(channel, module, function, channel.receive(), value_bytes)


def _write_files(files: dict[str, str]) -> None:
    """Beside the program, where it can import and read them."""
    for name, text in files.items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
    if files:
        sys.path.insert(0, os.getcwd())


def _exit(code: object, scope: dict[str, Any], source: str) -> NoReturn:
    if not idioms.wind_up(scope, finalizers="__del__" in source):
        os._exit(120)
    os._exit(0 if code is None else code & 0xFF if isinstance(code, int) else 1)


def _entry_point(names: dict[str, Any], entry: str) -> Callable[..., object]:
    """A function, or a method: `Class.method`, or one of a class `Solution`. Each call gets a new object."""
    if entry in names:
        function: Callable[..., object] = names[entry]
        return function
    owner, _, method = entry.rpartition(".")
    kind: Any = names.get(owner or "Solution")
    if not hasattr(kind, method):
        raise NameError(f"the program does not define {entry!r}")
    return lambda *arguments, **keywords: getattr(kind(), method)(*arguments, **keywords)


def _answer(
    channel: Channel, module: types.ModuleType, function: Callable[..., object], request: dict[str, Any], limit: int
) -> None:
    """A call of the entry point, or an expression of a test that only the program's own names can make sense of."""
    try:
        if "call" in request:
            arguments, keywords = wire.build(request["call"], wire.MESSAGE_DEPTH)
            value = function(*arguments, **keywords)
        else:
            setup, expression = request["evaluate"]
            scope = dict(module.__dict__)
            exec(compile(setup, "setup.py", "exec", dont_inherit=True), scope)
            value = eval(compile(expression, "test.py", "eval", dont_inherit=True), scope)
        text = wire.dumps(value, limit)
    except NotPlainError as error:
        channel.send("unplain", json.dumps(str(error)))
    except BaseException as error:
        channel.send("raised", _described(error))
    else:
        channel.send("value", text)


def _stop(channel: Channel, kind: str, error: BaseException) -> NoReturn:
    channel.send(kind, _described(error))
    os._exit(1)


def _described(error: BaseException) -> str:
    """[type, message] as JSON. The program may have written the exception's own methods."""
    try:
        return json.dumps([type(error).__name__[:500], str(error)[:500]])
    except BaseException:
        return '["Exception", ""]'


def run_tests(channel: Channel, job: dict[str, Any]) -> None:
    """Run test sources, with a proxy in place of the program's entry point, up to the first that does not pass."""
    scope: dict[str, Any] = {"__name__": "tests"}
    proxy = Proxy(channel)
    try:
        exec(compile(job["setup"], "setup.py", "exec", dont_inherit=True), scope)
    except BaseException as error:
        _stop(channel, "unusable", error)
    for source in job["tests"]:
        proxy.answers = 0
        try:
            exec(compile(source, "test.py", "exec", dont_inherit=True), scope | {job["entry"]: proxy})
        except BaseException as error:
            _stop(channel, _blame(error, proxy), error)
        if not proxy.answers:
            _stop(channel, "unusable", RuntimeError(f"it passed without calling {job['entry']!r}"))
        channel.send("passed", "true")


def _blame(error: BaseException, proxy: Proxy) -> str:
    """An AssertionError is the test's verdict. Else it is the program's exception, its value, or the test itself."""
    cause: BaseException | None = error
    while cause is not None:
        if cause is proxy.raised:
            return "raised"
        cause = cause.__cause__ or cause.__context__
    if not proxy.answers:
        return "unusable"
    return "failed" if isinstance(error, AssertionError) else "stumbled"


class Proxy:
    """Stands for the program's entry point among the tests; the parent carries the call to the program and back."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.answers = 0
        self.raised: BaseException | None = None  # the last of the program's exceptions

    def __call__(self, *arguments: object, **keywords: object) -> Any:
        self._channel.send("call", wire.dumps([arguments, keywords], _ARGUMENTS_BYTES, wire.MESSAGE_DEPTH))
        answer = self._channel.receive()
        self.answers += 1
        if "value" in answer:
            return wire.build(answer["value"])
        self.raised = _like(*answer["raised"])
        raise self.raised


def _like(name: str, message: str) -> BaseException:
    """The builtin exception of that name, for tests that expect one. Not those that steer a caller: a StopIteration
    inside `all(map(f, ...))` would end the loop, and the test would pass.
    """
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _STEERING):
        try:
            return kind(message)
        except TypeError:
            pass  # a few take more than a message
    return RuntimeError(f"{name}: {message}")
