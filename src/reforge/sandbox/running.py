"""Processes of the sandbox for one purpose each: a program that prints, and the problem's own checker."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from reforge.records import Status
from reforge.sandbox import wire
from reforge.sandbox.forkserver import Server
from reforge.sandbox.limits import Failed, Limits
from reforge.sandbox.process import Child
from reforge.sandbox.questions import TESTS_BYTES
from reforge.sandbox.replies import failure_of, value_of

NewChild = Callable[[dict[str, Any], int], AbstractContextManager[Child]]  # given its job, and bytes it may return
_CHECKER_BYTES = 1 << 16  # the most that a checker may return: it says yes or no


@contextmanager
def quiet_child(
    server: Server,
    role: str,
    job: dict[str, Any],
    limits: Limits,
    output: int,
    stdin: int | None = None,
    stdout: int | None = None,
    tests: int = 1,
) -> Iterator[Child]:
    """Yield a child whose standard streams are `stdin` and `stdout`, or /dev/null where those are None; its stderr
    always is /dev/null."""
    with open(os.devnull, "r+b", buffering=0) as file:
        null = file.fileno()
        streams = (null if stdin is None else stdin, null if stdout is None else stdout, null)
        child = Child(server, role, job, limits, streams, output, tests)
    with child:
        yield child


@contextmanager
def memory_file(content: bytes = b"") -> Iterator[int]:
    descriptor = os.memfd_create("reforge")
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def program_job(
    program: str, entry: str = "", files: Sequence[tuple[str, str]] = (), preamble: str = "", **shown: Any
) -> dict[str, Any]:
    """Return the job of a child that runs a program. `shown`: what the program gets of the tests' setup."""
    return {"program": program, "entry": entry, "files": dict(files), "preamble": preamble, **shown}


def loaded(child: Child) -> None:
    """Wait until a program can be called. Raises Failed where it does not get as far."""
    message = child.receive()
    if "loaded" not in message:
        raise failure_of(message)


def end_of(child: Child) -> Failed:
    """Return how a program that owes no answer ended. Its process sends a message only to say that it failed."""
    try:
        return failure_of(child.receive())
    except Failed as failed:
        return failed


def ask_checker(new_child: NewChild, source: str, given: Any, expected: Any, returned: Any) -> None:
    """Run the problem's own checker, a program like any other, in a process and a folder that no other program has been
    in, and raise Failed where it does not accept the answer. What is given, expected and returned is typed JSON. If the
    checker fails at this answer but not at the expected one, the answer is wrong, not the checker broken: no answer may
    buy a verdict that is not scored.
    """
    try:
        right = _checked(new_child, source, [given, expected, returned])
    except Failed as failed:
        try:
            _checked(new_child, source, [given, expected, expected])
        except Failed as broken:
            reason = f"the checker failed at the expected answer: {broken.reason}"
            raise Failed(Status.BROKEN_TEST, reason) from broken
        raise Failed(Status.WRONG_ANSWER, f"the checker could not use it: {failed.reason}") from failed
    if not right:
        raise Failed(Status.WRONG_ANSWER)


def _checked(new_child: NewChild, source: str, of: list[Any]) -> bool:
    with new_child(program_job(source, "check"), _CHECKER_BYTES) as child:
        loaded(child)
        child.send({"call": [of, {}]})
        answer = value_of(child.receive())
    if type(answer) is not bool:
        raise Failed(Status.BROKEN_TEST, f"it returned a value of type {type(answer).__name__}, not True or False")
    return answer


def typed(value: Any) -> Any:
    """Return the typed JSON, parsed, of a value of a test."""
    return json.loads(wire.dumps(value, TESTS_BYTES, wire.MESSAGE_DEPTH))
