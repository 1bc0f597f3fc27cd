"""The tests' process: runs test sources, in which the program's names stand for objects of the program's process."""

from __future__ import annotations

import importlib
from typing import Any

from reforge.sandbox.inside.remote import Peer, Pipe, Remote, of_a_test, stop

# Modules that a name of the program may come from, if it is the very object that the library has under that name.
_LIBRARY = {
    "bisect", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "heapq", "itertools", "math", "operator", "random", "re", "statistics", "string", "typing",
}  # fmt: skip


def run_tests(channel: Pipe, job: dict[str, Any]) -> None:
    """Run the tests up to the first that does not pass."""
    peer = Peer(channel, 1 << 26, of_a_test)
    scope: dict[str, Any] = {"__name__": "tests"}
    wanted = [name for name in job["names"] if name not in job["modules"]]
    try:
        look_up = peer.referred(["remote", 0, "object", "function", ["__call__"]])
        objects, imports = look_up(wanted)
        scope |= {name: objects[name] for name in wanted if name in objects}  # and no builtin instead
        for name in set(wanted) & imports.keys() - set(job["entries"]):
            module = imports[name]
            scope |= {name: getattr(importlib.import_module(module), name)} if module in _LIBRARY else {}
        for name in job["entries"]:
            if name == job["entry"] and not _asks(scope.get(name)):
                raise TypeError(f"{name!r} of the program cannot be called")
            if not _asks(scope.get(name)):
                scope.pop(name, None)
        for name in job["called"]:
            if not callable(scope.get(name)):
                scope.pop(name, None)
    except BaseException as error:
        stop(channel, "raised", error)
    missing = set(job["called"]) - scope.keys()  # a class or function of the program that it does not have
    program = dict(scope)
    try:
        scope |= {name: importlib.import_module(name) for name in job["modules"]}
        peer.answers = 0
        if job["setup"]:
            exec(compile(job["setup"], "setup.py", "exec", dont_inherit=True), scope)
    except BaseException as error:
        stop(channel, _blame(error, peer, missing), error)
    scope |= {name: program[name] for name in job["entries"] if name in program}
    peer.classes = {name: scope[name] for name in job["classes"] if isinstance(scope.get(name), type)}
    for source in job["tests"]:
        peer.answers = 0
        try:
            exec(compile(source, "test.py", "exec", dont_inherit=True), dict(scope))
        except BaseException as error:
            stop(channel, _blame(error, peer, missing), error)
        if not peer.answers:
            stop(channel, "unusable", RuntimeError("it passed without calling the program"))
        channel.send("passed", "true")


def _asks(value: object) -> bool:
    """Return whether to call the value is to ask the program. From anything else a test would get no answer, and seem
    to be broken."""
    return issubclass(type(value), Remote) and callable(value)


def _blame(error: BaseException, peer: Peer, missing: set[str]) -> str:
    """Return what is to blame for a test's error. An AssertionError is the test's verdict. Otherwise it is the
    program's exception, its value, or the test itself."""
    cause: BaseException | None = error
    while cause is not None:
        if any(cause is raised for raised in peer.raised):
            return "raised"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, NameError) and error.name in missing:
        return "raised"
    if not peer.answers:
        return "unusable"
    return "failed" if isinstance(error, AssertionError) else "stumbled"
