"""The child's side of a sandbox process, once it is fenced in: run a program, or tests that call one.

Messages are lines of JSON on two pipes of its own; stdout is the program's. Whatever a program does in here, it can
make the parent receive no more than a value.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from reforge.sandbox import lcb, wire
from reforge.sandbox.inside import evaluator, idioms
from reforge.sandbox.inside.remote import Peer, Pipe, described, everything, stop
from reforge.sandbox.kinds import TYPES, NotPlainError

REQUESTS, ANSWERS = 3, 4  # descriptors
_REHEARSALS = 20  # the interpreter rewrites code after some runs of it: better once here than in each process


class Channel:
    def __init__(self) -> None:
        self._rest = b""
        self.received = 0

    def receive(self) -> dict[str, Any]:
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            data = os.read(REQUESTS, 1 << 16)
            if not data:
                os._exit(0)  # the parent has finished with us
            parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        self.received = len(line)
        message: dict[str, Any] = json.loads(line.decode())
        return message

    def send(self, kind: str, content: str) -> None:
        """Send a message. `content` is JSON already."""
        data = f'{{"{kind}": {content}}}\n'.encode()
        while data:
            data = data[os.write(ANSWERS, data) :]


def run(channel: Channel, role: str, value_bytes: int) -> None:
    """Do the job that comes through the channel. `role`: "program" or "tests". `value_bytes` bounds what a program may
    return. Until this process says that it is ready, whatever fails is the machine's fault.
    """
    try:
        job = channel.receive()
        _write_files(job.get("files", {}))
    except OSError as error:
        channel.send("unfenced", json.dumps(f"{type(error).__name__}: {error}"))
        return
    except MemoryError as error:  # what was handed in is too large
        channel.send("ready", "true")
        stop(channel, "raised", error)
    channel.send("ready", "true")
    if role == "tests":
        evaluator.run_tests(channel, job)
    else:
        run_program(channel, job, value_bytes)


def run_program(channel: Channel, job: dict[str, Any], value_bytes: int) -> None:
    """Define a program that has an entry point, then answer for ever; or run one without, which uses stdin and stdout,
    and end. A preamble is LiveCodeBench's, whose grader does not mind how a program exits.
    """
    entry, source = job["entry"], job["program"]
    module = types.ModuleType("program" if entry else "__main__")
    module.__file__ = "program.py"
    sys.modules[module.__name__] = module
    try:
        compiled = lcb.compiled if job["preamble"] and not entry else partial(compile, mode="exec", dont_inherit=True)
        code = compiled(source.removeprefix("\ufeff"), "program.py")
    except BaseException as error:
        stop(channel, "broken", error)
    for definition in job.get("definitions", ()):  # those of the tests' setup that a statement would show
        with contextlib.suppress(BaseException):
            exec(compile(definition, "setup.py", "exec", dont_inherit=True), module.__dict__)
    try:
        if job["preamble"]:
            exec(job["preamble"], module.__dict__)
        given = dict(module.__dict__)
        exec(code, module.__dict__)
        if not entry:
            _exit(0, module.__dict__, source)
        own = {name: it for name, it in module.__dict__.items() if name not in given or it is not given[name]}
        function = _entry_point(own, entry)
    except BaseException as error:
        if isinstance(error, SystemExit) and not entry:
            _exit(0 if job["preamble"] else error.code, module.__dict__, source)
        stop(channel, "raised", error)
    peer = _peer(channel, module.__dict__, job, function, value_bytes)
    channel.send("loaded", "true")
    while True:
        _answer(channel, peer, function, channel.receive(), value_bytes)


def _write_files(files: dict[str, str]) -> None:
    """Write the files beside the program, where it can import and read them."""
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
    """Return the entry point: a function, or a method (`Class.method`, or one of a class `Solution`), each call of
    which gets a new object. Raises TypeError or NameError where there is none."""
    if entry in names:
        function: Callable[..., object] = names[entry]
        if not callable(function):
            raise TypeError(f"{entry!r} of the program cannot be called")
        return partial(function) if any(function is kind for kind in TYPES) else function  # a type crosses by its name
    owner, _, method = entry.rpartition(".")
    kind: Any = names.get(owner or "Solution")
    if not hasattr(kind, method):
        raise NameError(f"the program does not define {entry!r}")
    return lambda *arguments, **keywords: getattr(kind(), method)(*arguments, **keywords)


def _answer(channel: Pipe, peer: Peer, function: Callable[..., object], request: dict[str, Any], limit: int) -> None:
    """Answer a call of the entry point with plain values, or a question of the tests."""
    if "ask" in request:
        peer.serve(request["ask"])
        return
    try:
        arguments, keywords = wire.build(request["call"], wire.MESSAGE_DEPTH)
        text = wire.dumps(function(*arguments, **keywords), limit)
    except NotPlainError as error:
        channel.send("unplain", json.dumps(str(error)))
    except BaseException as error:
        channel.send("raised", described(error))
    else:
        channel.send("value", text)


def _peer(channel: Pipe, names: dict[str, Any], job: dict[str, Any], entry: object, limit: int) -> Peer:
    """Return the program's side of the questions. Its object number 0 tells the tests what the program's names stand
    for."""
    peer = Peer(channel, limit, everything)
    peer.classes = {name: names[name] for name in job.get("classes", ()) if isinstance(names.get(name), type)}

    def look_up(wanted: list[str]) -> list[dict[str, Any]]:
        asked = job["entry"].rpartition(".")[2]  # it stays here, even where the program has it from the library
        found = {name: names[name] for name in wanted if name in names and name != asked}
        library = {name: _library_module(it, name) for name, it in found.items()}
        imported = {name: module for name, module in library.items() if module}
        return [{asked: entry} | {name: it for name, it in found.items() if name not in imported}, imported]

    peer.refer(look_up)
    return peer


def _library_module(value: object, name: str) -> str:
    """Return the library's module that has this very object under this name; empty where there is none."""
    module = getattr(value, "__module__", None)
    if type(module) is not str or module.lstrip("_") not in sys.stdlib_module_names:
        return ""
    return module.lstrip("_") if getattr(sys.modules.get(module.lstrip("_")), name, None) is value else ""


def _heard(values: list[int]) -> list[int]:
    return values


class _Loop:
    """A pipe to a program's side in this very process."""

    def __init__(self) -> None:
        self._peer = _peer(self, {"f": _heard}, {"entry": "f"}, _heard, 1 << 10)
        self._said = ""
        self.received = 0

    def receive(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self._said)
        if "ask" not in said:
            return said
        self._peer.serve(said["ask"])
        return self.receive()

    def send(self, kind: str, content: str) -> None:
        self._said = f'{{"{kind}": {content}}}'


def rehearse() -> None:
    """Let tests and programs talk to each other in the fork-server, so that forks find in memory what that takes."""
    job = {"setup": "", "entry": "f", "names": ["f"], "entries": ["f"], "called": ["f"], "modules": [], "classes": []}
    for _ in range(_REHEARSALS):
        idioms.flushed()
        loop = _Loop()
        evaluator.run_tests(loop, {**job, "tests": ["assert f([3, 1, 2]) == [3, 1, 2]"] * 3})
        request = json.loads(wire.dumps([[[3, 1, 2]], {}], 1 << 10))
        _answer(loop, loop._peer, _heard, {"call": request}, 1 << 10)
        wire.build(loop.receive()["value"])
