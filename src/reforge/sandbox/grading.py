"""From a program and a problem to a verdict, one function for each kind of test.

Expected answers stay in this process or, for assert tests, in the evaluator's; never in the program's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reforge.errors import UserError
from reforge.sandbox import wire
from reforge.sandbox.checkers import same_output, same_value
from reforge.sandbox.process import FOREIGN, Child, Failed, Limits
from reforge.types import Problem, Status, TestCase, Verdict

_REASON = 300  # characters kept of what a program says about itself


def check_tests(problem: Problem) -> None:
    """Raises UserError for a problem that cannot be judged: without tests everything would pass."""
    kinds = sorted({test.kind for test in problem.tests})
    if len(kinds) != 1:
        found = f"tests of the kinds {', '.join(kinds)}" if kinds else "no tests"
        raise UserError(f"Problem {problem.id!r} has {found}; it needs at least one test, all of one kind.")
    if kinds != ["stdin"] and not problem.entry_point:
        raise UserError(f"Problem {problem.id!r} has {kinds[0]} tests but no entry_point to call.")
    if kinds == ["call"]:
        _calls_of(problem)


def grade(program: str, problem: Problem, limits: Limits) -> Verdict:
    """Raises InfrastructureError or OSError where the machine, not the program, failed."""
    run = _Run(program, problem, limits)
    try:
        {"stdin": run.stdin_tests, "call": run.call_tests, "assert": run.assert_tests}[problem.tests[0].kind]()
    except Failed as failed:
        return Verdict(failed.status, _steady(failed.reason)[:_REASON], run.test_index, round(run.cpu_seconds, 3))
    return Verdict(Status.ACCEPTED, cpu_seconds=round(run.cpu_seconds, 3))


def _steady(reason: str) -> str:
    """Without what differs each time: addresses of objects and the names of temporary folders. Verdicts are stored."""
    return re.sub(r"/[^\s'\"]*/reforge-\w+", "…", re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", reason))


class _Run:
    """One program against its tests: where it is and what it has used. The tests return, or raise Failed."""

    def __init__(self, program: str, problem: Problem, limits: Limits) -> None:
        self._program = program
        self._problem = problem
        self._limits = limits
        self.test_index = -1
        self.cpu_seconds = 0.0

    def stdin_tests(self) -> None:
        for self.test_index, test in enumerate(self._problem.tests):  # noqa: B020 - the index outlives the loop
            if not same_output(test.expected, self._print(test)):
                raise Failed(Status.WRONG_ANSWER)

    def _print(self, test: TestCase) -> str:
        """What the program prints. stdin and stdout are files in memory: no pipe to fill up, a bound on their size."""
        limits = self._limits
        with _memory_file(test.input.encode()) as stdin, _memory_file() as stdout:
            with self._measured(Child("program", limits, stdin, stdout)) as child:
                child.start({"program": self._program, "entry": ""})
                ended = _end_of(child)
            if ended.status is not Status.TIME_LIMIT and os.fstat(stdout).st_size > limits.output_bytes:
                raise Failed(Status.OUTPUT_LIMIT, f"printed more than {limits.output_kb} kB")
            if ended.exit_code != 0:
                raise ended
            return os.pread(stdout, limits.output_bytes, 0).decode(errors="replace")

    def call_tests(self) -> None:
        with self._measured(Child("program", self._limits)) as child:
            self._load(child)
            for self.test_index, (arguments, expected) in enumerate(_calls_of(self._problem)):  # noqa: B020
                child.send({"call": [arguments, {}]})
                if not same_value(expected, _value_of(child.receive())):
                    raise Failed(Status.WRONG_ANSWER)
        child.check_cpu()

    def assert_tests(self) -> None:
        """Two processes: the evaluator holds the tests, and each of its calls is carried to the program's and back."""
        problem = self._problem
        with self._measured(Child("program", self._limits)) as child, Child("tests", self._limits) as tests:
            self._load(child)
            sources = [test.input for test in problem.tests]
            tests.start({"setup": problem.setup, "tests": sources, "entry": problem.entry_point})
            for self.test_index in range(len(problem.tests)):
                _serve(tests, child)
        child.check_cpu()

    def _load(self, child: Child) -> None:
        child.start({"program": self._program, "entry": self._problem.entry_point})
        message = child.receive()
        if "loaded" not in message:
            raise _failure(message)

    @contextmanager
    def _measured(self, child: Child) -> Iterator[Child]:
        try:
            with child:
                yield child
        finally:
            self.cpu_seconds += child.cpu_seconds


def _serve(tests: Child, program: Child) -> None:
    """Carry calls until the evaluator has finished one test. Returns if it passed."""
    answered = False
    while True:
        try:
            message = tests.receive()
        except Failed as failed:
            if failed.status is Status.TIME_LIMIT:
                raise Failed(failed.status, f"while its answer was tested: {failed.reason}") from failed
            raise _stumbled(failed.reason, answered) from failed
        if "passed" in message:
            return
        if "call" not in message:
            raise _outcome(message, answered)
        program.send(message)
        message = program.receive()
        if not _is_exception(message) or message["raised"][0] == "MemoryError":  # tests may expect an exception
            _value_of(message)
        answered = True
        tests.send(message)  # written anew: the program chose the words, not their form


def _outcome(message: dict[str, Any], answered: bool) -> Failed:
    """Why a test did not pass: the program's value, its exception, or the test code itself."""
    ((kind, (name, text)),) = message.items()
    if kind == "failed":
        return Failed(Status.WRONG_ANSWER, text)
    if kind == "raised":
        return _failure(message)
    return _stumbled(f"{name}: {text}", answered)


def _stumbled(reason: str, answered: bool) -> Failed:
    """Test code broke. After an answer of the program, the answer did that (`None[0]`): it is wrong. Before, the test
    is broken for every program: no program is to blame, so the verdict is the one that is never scored.
    """
    if answered:
        return Failed(Status.WRONG_ANSWER, f"the test could not use the returned value: {reason}")
    return Failed(Status.INFRASTRUCTURE, f"test code failed: {reason}")


def _end_of(child: Child) -> Failed:
    """How a program that owes no answer ended. It speaks only to say that it failed."""
    try:
        return _failure(child.receive())
    except Failed as failed:
        return failed


def _value_of(message: dict[str, Any]) -> Any:
    if "value" not in message:
        raise _failure(message)
    try:
        return wire.build(message["value"])
    except ValueError as error:
        raise Failed(Status.RUNTIME_ERROR, str(error)) from error


def _failure(message: dict[str, Any]) -> Failed:
    """What a message that is not an answer says. The program may have forged it: it can only harm itself."""
    if _is_exception(message, "broken"):
        return Failed(Status.COMPILE_ERROR, ": ".join(filter(None, message["broken"])))
    if _is_exception(message):
        out_of_memory = message["raised"][0] == "MemoryError"
        status = Status.MEMORY_LIMIT if out_of_memory else Status.RUNTIME_ERROR
        return Failed(status, ": ".join(filter(None, message["raised"])))
    if "unplain" in message:
        return Failed(Status.RUNTIME_ERROR, f"returned {message['unplain']}")
    return Failed(Status.RUNTIME_ERROR, FOREIGN)


def _is_exception(message: dict[str, Any], kind: str = "raised") -> bool:
    detail = message.get(kind)
    return type(detail) is list and [type(part) for part in detail] == [str, str]


def _calls_of(problem: Problem) -> list[tuple[list[Any], Any]]:
    """Of each call test the arguments, still in typed JSON, and the expected value."""
    calls = []
    for index, test in enumerate(problem.tests):
        try:
            arguments, expected = json.loads(test.input), wire.loads(test.expected)
            wire.build(arguments)
        except (ValueError, RecursionError) as error:
            raise UserError(f"Problem {problem.id!r}, test {index}: {error}.") from error
        if type(arguments) is not list:
            raise UserError(f"Problem {problem.id!r}, test {index}: the input must be a JSON list of arguments.")
        calls.append((arguments, expected))
    return calls


@contextmanager
def _memory_file(content: bytes = b"") -> Iterator[int]:
    descriptor = os.memfd_create("reforge")
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
