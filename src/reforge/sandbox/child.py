"""The child's side of a sandbox process: confine itself, then run a program, or tests that call one.

Only the interpreter's own library is importable here, plus the few modules of this package that it has loaded already.
Messages are lines of JSON on two pipes of its own; stdout is the program's. Whatever a program does in here, it can
make the parent receive no more than a value.
"""

from __future__ import annotations

import builtins
import os
import sys

from reforge.sandbox import wire
from reforge.sandbox.confine import confine

TYPE_CHECKING = False
if TYPE_CHECKING:  # not imported here, for the reason given in wire.py
    import types
    from collections.abc import Callable
    from typing import Any, NoReturn

_ARGUMENTS_BYTES = 1 << 26  # of one call by a test; the tests are ours


_STEERING = (StopIteration, StopAsyncIteration)


class Channel:
    def __init__(self, requests: int, answers: int) -> None:
        self._requests = open(requests, encoding="utf-8")  # noqa: SIM115 - for the life of the process
        self._answers = answers

    def receive(self) -> dict[str, Any]:
        line = self._requests.readline()
        if not line:
            os._exit(0)  # the parent has finished with us
        message: dict[str, Any] = wire.parse(line)
        return message

    def send(self, kind: str, content: str) -> None:
        """`content` is JSON already."""
        data = f'{{"{kind}": {content}}}\n'.encode()
        while data:
            data = data[os.write(self._answers, data) :]


def main(role: str, *numbers: str) -> None:
    requests, answers, cpu_seconds, memory_bytes, file_bytes, value_bytes, parent = map(int, numbers)
    confine(cpu_seconds, memory_bytes, file_bytes, parent)
    channel = Channel(requests, answers)
    channel.send("ready", "true")
    job = channel.receive()
    if role == "tests":
        run_tests(channel, job)
    else:
        run_program(channel, job, value_bytes)


def run_program(channel: Channel, job: dict[str, Any], value_bytes: int) -> None:
    """With an entry point: define the program, then answer calls for ever. Without: it uses stdin and stdout."""
    entry, source = job["entry"], job["program"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "reforge"]:
        del sys.modules[name]  # with the package goes the path to the rest of it
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # else made by `site`, which is not loaded
    if "random" in source:
        import random

        random.seed(0)  # a verdict must not depend on the day
    module = type(sys)("program" if entry else "__main__")
    sys.modules[module.__name__] = module
    sys.argv = ["program.py"]
    try:
        code = compile(source, "program.py", "exec", dont_inherit=True)
    except BaseException as error:
        _stop(channel, "broken", error)
    try:
        exec(code, module.__dict__)
        if not entry:
            return  # the interpreter waits for the program's threads and flushes its output
        function = _entry_point(module, entry)
    except BaseException as error:
        if isinstance(error, SystemExit) and not entry:
            raise
        _stop(channel, "raised", error)
    channel.send("loaded", "true")
    while True:
        _answer(channel, function, channel.receive(), value_bytes)


def _entry_point(module: types.ModuleType, entry: str) -> Callable[..., object]:
    if entry not in module.__dict__:
        raise NameError(f"the program does not define {entry!r}")
    function: Callable[..., object] = module.__dict__[entry]
    return function


def _answer(channel: Channel, function: Callable[..., object], request: dict[str, Any], value_bytes: int) -> None:
    arguments, keywords = wire.build(request["call"])
    try:
        text = wire.dumps(function(*arguments, **keywords), value_bytes)
    except wire.NotPlainError as error:
        channel.send("unplain", wire.write(str(error)))
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
        return wire.write([type(error).__name__, str(error)[:500]])
    except BaseException:
        return '["Exception", ""]'


def run_tests(channel: Channel, job: dict[str, Any]) -> None:
    """Run test sources, with a proxy in place of the program's entry point, up to the first that does not pass."""
    import random

    random.seed(0)  # tests that draw inputs draw the same ones for every program
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
        self._channel.send("call", wire.dumps([arguments, keywords], _ARGUMENTS_BYTES))
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
