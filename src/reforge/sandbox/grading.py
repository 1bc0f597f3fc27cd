"""A program and a problem → a verdict, with one function for each kind of test.

Expected answers stay in this process or, for assert tests, in the evaluator's; never in the program's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from reforge.records import Problem, Status, TestCase, Verdict
from reforge.sandbox import lcb
from reforge.sandbox.asserts import Source, job_of, shown_of, steps_of
from reforge.sandbox.checkers import name_of, same_output, same_value
from reforge.sandbox.forkserver import Server
from reforge.sandbox.limits import MARGIN, Failed, Limits
from reforge.sandbox.process import Child
from reforge.sandbox.questions import calls_of
from reforge.sandbox.reasons import fit
from reforge.sandbox.relay import Exposure, carry
from reforge.sandbox.replies import value_of
from reforge.sandbox.running import ask_checker, end_of, loaded, memory_file, program_job, quiet_child, typed

EXPOSED = "exposed: what the tests compare was decided by the program itself (sandbox.exposed: refuse)"
_KEPT_BYTES = 1 << 26  # all answers of a program together that are kept for the problem's own checker


@dataclass(frozen=True)
class Graded:
    """A verdict. `nearly_in_time`: all is right but a time limit, missed by so little that the neighbours may have
    caused it."""

    verdict: Verdict
    nearly_in_time: bool = False


def grade(program: str, problem: Problem, limits: Limits, server: Server) -> Graded:
    """Run the program against the problem's tests, and return the verdict. Raises InfrastructureError or OSError where
    the machine, not the program, failed."""
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
    judged = status is not Status.BROKEN_TEST and kind != "answer"  # an answer uses nothing: its checker does
    if judged and run.memory_kb > (limits.memory_mb << 10) + server.resident_kb:
        status, reason, index = Status.MEMORY_LIMIT, f"used more than {limits.memory_mb} MB", run.test_index
    if status is Status.ACCEPTED and run.exposed and limits.exposed == "refuse":
        status, reason = Status.WRONG_ANSWER, EXPOSED
    if server.broken:  # whatever it answered, and whatever came of that
        status, reason, index = Status.RUNTIME_ERROR, fit(server.broken), run.test_index
    right = status is Status.ACCEPTED
    for used, limit, of in (
        (run.cpu_seconds, limits.cpu_seconds, ""),
        (run.cpu_total, limits.budget_seconds, " for all tests together"),
    ):
        if judged and used > limit:
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
    """The run of one program against its tests: where it is and what it has used. The methods that test it return, or
    raise Failed."""

    def __init__(self, program: str, problem: Problem, limits: Limits, server: Server) -> None:
        self._program = program
        self._problem = problem
        self._limits = limits
        self._server = server
        self._preamble = lcb.PREAMBLE if problem.checker.rule == "lcb" else ""
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
        """Compare what was handed in: it is no program but the answer."""
        problem = self._problem
        for self.test_index, test in enumerate(problem.tests):
            self._compare(test, self._program)

    def _compare(self, test: TestCase, text: str) -> None:
        checker = self._problem.checker
        if checker.rule == "program":
            new_child = self._measured if test.kind == "answer" else self._unmeasured
            ask_checker(new_child, checker.source, test.input, test.expected, _ended_alike(text, test.expected))
        else:
            _ask(partial(same_output, test.expected, text, checker))

    def _print(self, test: TestCase) -> str:
        """Return what the program prints. stdin and stdout are files in memory: no pipe can fill up, and their size is
        bounded."""
        longest = self._limits.output_bytes(len(test.expected.encode()))
        with memory_file(test.input.encode()) as stdin, memory_file() as stdout:
            job = program_job(self._program, "", self._problem.files, self._preamble)
            with self._measured(job, longest, stdin, stdout) as child:
                child.finish()
                ended = end_of(child)
            if ended.status is not Status.TIME_LIMIT and os.fstat(stdout).st_size > longest:
                raise Failed(Status.OUTPUT_LIMIT, f"printed more than {longest >> 10} kB")
            if ended.exit_code != 0:
                raise ended
            return os.pread(stdout, longest, 0).decode(errors="replace")

    def call_tests(self) -> None:
        """Call the program with the arguments of each test. The problem's own checker, if there is one, starts when all
        answers are there and the program has ended: the two never live side by side.
        """
        problem, calls = self._problem, calls_of(self._problem)
        kept: list[str] = []
        failure: tuple[int, Failed] | None = None
        longest = max(len(test.expected) for test in problem.tests)
        job = program_job(self._program, problem.entry_point, problem.files, self._preamble)
        try:
            with self._measured(job, self._limits.output_bytes(longest), tests=len(calls)) as child:
                loaded(child)
                for self.test_index, (arguments, expected) in enumerate(calls):
                    child.next_test()
                    child.send({"call": [arguments, {}]})
                    message = child.receive()
                    returned = value_of(message)
                    if problem.checker.rule == "program":
                        self._keep(kept, json.dumps(message["value"]))
                    else:
                        _ask(partial(same_value, expected, returned, problem.checker))
        except Failed as failed:
            failure = self.test_index, failed
        for self.test_index, text in enumerate(kept):
            arguments, expected = calls[self.test_index]
            ask_checker(self._unmeasured, problem.checker.source, arguments, typed(expected), json.loads(text))
        if failure is not None:
            self.test_index = failure[0]
            raise failure[1]

    def _keep(self, kept: list[str], text: str) -> None:
        kept.append(text)
        if sum(map(len, kept)) > _KEPT_BYTES:
            raise Failed(Status.OUTPUT_LIMIT, f"returned more than {_KEPT_BYTES >> 20} MB in all")

    def assert_tests(self) -> None:
        problem, steps = self._problem, steps_of(self._problem)
        sources = any(isinstance(step, Source) for step in steps)
        output = self._limits.output_bytes(max(len(test.input) for test in problem.tests))
        exposure = Exposure(problem.entry_point)
        shown = shown_of(problem) if sources else {}
        job = program_job(self._program, problem.entry_point, problem.files, **shown)
        with self._measured(job, output) as child, ExitStack() as stack:
            loaded(child)
            tests = None
            if sources:
                tests = stack.enter_context(quiet_child(self._server, "tests", job_of(problem), self._limits, output))
            for self.test_index, step in enumerate(steps):
                if isinstance(step, Source):
                    assert tests is not None
                    carry(tests, child, exposure)
                    self.exposed = exposure.exposed
                else:
                    child.send({"call": typed([step.arguments, step.keywords])})
                    _ask(partial(step.want.holds, value_of(child.receive())))

    def _unmeasured(self, job: dict[str, Any], output: int) -> AbstractContextManager[Child]:
        return quiet_child(self._server, "program", job, self._limits, output)

    @contextmanager
    def _measured(
        self, job: dict[str, Any], output: int, stdin: int | None = None, stdout: int | None = None, tests: int = 1
    ) -> Iterator[Child]:
        child = None
        try:
            with quiet_child(self._server, "program", job, self._limits, output, stdin, stdout, tests) as child:
                yield child
        finally:
            if child is not None:
                self.cpu_seconds = max(self.cpu_seconds, child.longest)
                self.cpu_total += child.cpu_seconds
                self.wall_seconds = max(self.wall_seconds, child.wall_seconds)
                self.memory_kb = max(self.memory_kb, child.memory_kb)


def _ended_alike(text: str, expected: str) -> str:
    """Return what was printed with as many line breaks at its end as the expected answer has: they say nothing."""
    return text.rstrip("\n") + expected[len(expected.rstrip("\n")) :]


def _ask(compare: Callable[[], bool]) -> None:
    """Raise Failed where an answer is not right, or such that the comparison fails."""
    try:
        right = compare()
    except Exception as error:
        raise Failed(Status.WRONG_ANSWER, f"it could not be compared: {type(error).__name__}") from error
    if not right:
        raise Failed(Status.WRONG_ANSWER)
