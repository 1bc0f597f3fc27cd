"""From a program and a problem to a verdict, one function for each kind of test.

Expected answers stay in this process or, for assert tests, in the evaluator's; never in the program's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from reforge.sandbox import wire
from reforge.sandbox.answers import failure_of, is_exception, outcome_of, stumbled, value_of
from reforge.sandbox.asserts import Call, Source, steps_of
from reforge.sandbox.checkers import name_of, same_output, same_value
from reforge.sandbox.forkserver import Server
from reforge.sandbox.limits import MARGIN, Failed, Limits
from reforge.sandbox.process import Child
from reforge.sandbox.questions import calls_of
from reforge.types import Problem, Status, TestCase, Verdict

_ARGUMENTS_BYTES = 1 << 26  # of a call by a test; the tests are ours


@dataclass(frozen=True)
class Graded:
    """`nearly_in_time`: all is right but a time limit, missed by so little that the neighbours may have caused it."""

    verdict: Verdict
    nearly_in_time: bool = False


def grade(program: str, problem: Problem, limits: Limits, server: Server) -> Graded:
    """Raises InfrastructureError or OSError where the machine, not the program, failed."""
    run = _Run(program, problem, limits, server)
    kind = problem.tests[0].kind
    status, reason, index = Status.ACCEPTED, "", -1
    try:
        tests = {
            "stdin": run.stdin_tests, "call": run.call_tests, "assert": run.assert_tests, "answer": run.answer_tests,
        }  # fmt: skip
        tests[kind]()
    except Failed as failed:
        status, reason, index = failed.status, failed.reason, run.test_index
    right = status is Status.ACCEPTED
    for used, limit, of in (
        (run.cpu_seconds, limits.cpu_seconds, ""),
        (run.cpu_total, limits.budget_seconds, " for all tests together"),
    ):
        if used > limit and status is not Status.BROKEN_TEST:
            status, reason, index = Status.TIME_LIMIT, f"used more than {limit} s of CPU time{of}", run.test_index
    checker = "python" if kind == "assert" else name_of(problem.checker)
    verdict = Verdict(
        status=status,
        reason=reason,
        test_index=index,
        cpu_seconds=round(run.cpu_seconds, 5),
        wall_seconds=round(run.wall_seconds, 5),
        memory_kb=run.memory_kb,
        isolation=server.isolation.label,
        interpreter=server.interpreter,
        checker=checker,
        exposed=run.exposed,
    )
    near = run.cpu_seconds <= MARGIN * limits.cpu_seconds and run.cpu_total <= MARGIN * limits.budget_seconds
    return Graded(verdict, right and status is Status.TIME_LIMIT and near)


class _Run:
    """One program against its tests: where it is and what it has used. The tests return, or raise Failed."""

    def __init__(self, program: str, problem: Problem, limits: Limits, server: Server) -> None:
        self._program = program
        self._problem = problem
        self._limits = limits
        self._server = server
        self.test_index = -1
        self.cpu_seconds = self.cpu_total = self.wall_seconds = 0.0
        self.memory_kb = 0
        self.exposed = False

    def stdin_tests(self) -> None:
        problem = self._problem
        for self.test_index, test in enumerate(problem.tests):
            self._compare(test, self._print(test))
            if self.cpu_total > MARGIN * self._limits.budget_seconds:
                raise Failed(Status.TIME_LIMIT)

    def answer_tests(self) -> None:
        """What was handed in is no program but the answer."""
        problem = self._problem
        for self.test_index, test in enumerate(problem.tests):
            self._compare(test, self._program)

    def _compare(self, test: TestCase, text: str) -> None:
        if self._problem.checker.rule == "program":
            self._ask_checker(test.input, test.expected, text)
        else:
            _ask(partial(same_output, test.expected, text, self._problem.checker))

    def _print(self, test: TestCase) -> str:
        """What the program prints. stdin and stdout are files in memory: no pipe to fill up, a bound on their size."""
        limits = self._limits
        with _memory_file(test.input.encode()) as stdin, _memory_file() as stdout:
            with self._measured(stdin, stdout) as child:
                self._hand_over(child, "")
                child.finish()
                ended = _end_of(child)
            if ended.status is not Status.TIME_LIMIT and os.fstat(stdout).st_size > limits.output_bytes:
                raise Failed(Status.OUTPUT_LIMIT, f"printed more than {limits.output_kb} kB")
            if ended.exit_code != 0:
                raise ended
            return os.pread(stdout, limits.output_bytes, 0).decode(errors="replace")

    def call_tests(self) -> None:
        problem = self._problem
        with self._measured() as child:
            self._load(child)
            for self.test_index, (arguments, expected) in enumerate(calls_of(problem)):
                child.send({"call": [arguments, {}]})
                returned = value_of(child.receive())
                if problem.checker.rule == "program":
                    self._ask_checker(wire.build(arguments), expected, returned)
                else:
                    _ask(partial(same_value, expected, returned, problem.checker))

    def assert_tests(self) -> None:
        problem, steps = self._problem, steps_of(self._problem)
        sources = [step.text for step in steps if isinstance(step, Source)]
        with self._measured() as child, ExitStack() as stack:
            self._load(child)
            tests = None
            if sources:
                tests = stack.enter_context(_quiet_child(self._server, "tests", self._limits))
                tests.start({"setup": problem.setup, "tests": sources, "entry": problem.entry_point})
            for self.test_index, step in enumerate(steps):
                if isinstance(step, Source):
                    assert tests is not None
                    _serve(tests, child)
                    continue
                if isinstance(step, Call):
                    tree = json.loads(wire.dumps([step.arguments, step.keywords], _ARGUMENTS_BYTES, wire.MESSAGE_DEPTH))
                    child.send({"call": tree})
                else:
                    self.exposed = True
                    child.send({"evaluate": [problem.setup, step.source]})
                _ask(partial(step.want.holds, value_of(child.receive())))

    def _load(self, child: Child) -> None:
        self._hand_over(child, self._problem.entry_point)
        message = child.receive()
        if "loaded" not in message:
            raise failure_of(message)

    def _hand_over(self, child: Child, entry: str) -> None:
        child.start({"program": self._program, "entry": entry, "files": dict(self._problem.files)})

    @contextmanager
    def _measured(self, stdin: int | None = None, stdout: int | None = None) -> Iterator[Child]:
        child = None
        try:
            with _quiet_child(self._server, "program", self._limits, stdin, stdout) as child:
                yield child
        finally:
            if child is not None:
                self.cpu_seconds = max(self.cpu_seconds, child.cpu_seconds)
                self.cpu_total += child.cpu_seconds
                self.wall_seconds = max(self.wall_seconds, child.wall_seconds)
                self.memory_kb = max(self.memory_kb, child.memory_kb)

    def _ask_checker(self, given: Any, expected: Any, returned: Any) -> None:
        """The problem's own checker, a program like any other. If it fails at this answer but not at the expected one,
        the answer is wrong, not the checker broken: no answer may buy a verdict that is not scored.
        """
        try:
            right = self._checked(given, expected, returned)
        except Failed as failed:
            try:
                self._checked(given, expected, expected)
            except Failed as broken:
                reason = f"the checker failed at the expected answer: {broken.reason}"
                raise Failed(Status.BROKEN_TEST, reason) from broken
            raise Failed(Status.WRONG_ANSWER, f"the checker could not use it: {failed.reason}") from failed
        if not right:
            raise Failed(Status.WRONG_ANSWER)

    def _checked(self, *of: Any) -> bool:
        with _quiet_child(self._server, "program", self._limits) as child:
            child.start({"program": self._problem.checker.source, "entry": "check", "files": {}})
            message = child.receive()
            if "loaded" not in message:
                raise failure_of(message)
            child.send({"call": [json.loads(wire.dumps(list(of), _ARGUMENTS_BYTES, wire.MESSAGE_DEPTH)), {}]})
            answer = value_of(child.receive())
        if type(answer) is not bool:
            raise Failed(Status.BROKEN_TEST, f"it returned {answer!r:.50}, not True or False")
        return answer


def _ask(compare: Callable[[], bool]) -> None:
    """Raises Failed where an answer is not right, or such that the comparison fails."""
    try:
        right = compare()
    except Exception as error:
        raise Failed(Status.WRONG_ANSWER, f"it could not be compared: {type(error).__name__}") from error
    if not right:
        raise Failed(Status.WRONG_ANSWER)


@contextmanager
def _quiet_child(
    server: Server, role: str, limits: Limits, stdin: int | None = None, stdout: int | None = None
) -> Iterator[Child]:
    """A child that hears and says nothing but through these."""
    with open(os.devnull, "r+b", buffering=0) as null:
        child = Child(
            server,
            role,
            limits,
            null.fileno() if stdin is None else stdin,
            null.fileno() if stdout is None else stdout,
        )
    with child:
        yield child


def _serve(tests: Child, program: Child) -> None:
    """Carry calls until the evaluator has finished one test. Returns if it passed."""
    answered = False
    while True:
        try:
            message = tests.receive()
        except Failed as failed:
            if failed.status is Status.TIME_LIMIT:
                raise Failed(failed.status, f"while its answer was tested: {failed.reason}") from failed
            raise stumbled(failed.reason, answered) from failed
        if "passed" in message:
            return
        if "call" not in message:
            raise outcome_of(message, answered)
        program.send(message)
        message = program.receive()
        if not is_exception(message) or message["raised"][0] == "MemoryError":  # tests may expect an exception
            value_of(message)
        answered = True
        tests.send(message)  # written anew: the program chose the words, not their form


def _end_of(child: Child) -> Failed:
    """How a program that owes no answer ended. It speaks only to say that it failed."""
    try:
        return failure_of(child.receive())
    except Failed as failed:
        return failed


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
