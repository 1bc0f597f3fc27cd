"""A process of a fork-server, as the judge sees it: started, talked to in time, ended, measured."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reforge.errors import InfrastructureError
from reforge.records import Status
from reforge.sandbox import wire
from reforge.sandbox.forkserver import PATIENCE, Server, ready
from reforge.sandbox.isolation import NAMESPACES, SECCOMP
from reforge.sandbox.limits import MARGIN, Failed, Limits

FILE_BYTES = 16 << 20  # the largest file that a program may write: as large as a jail's scratch folder
_QUICK = 0.02  # seconds below which a test is not measured by itself
_ENVELOPE = 1024  # bytes around a value in a message
_TESTS_BYTES = 1 << 27  # the longest message from the tests, which are ours
FOREIGN = "the program wrote to the channel of its results"


class Child:
    """A process for one program, or for tests that call one. On leaving the context, everything of it is gone.

    `role`: "program" or "tests". `job`: what to do once it is fenced in. `streams`: stdin, stdout and stderr, opened
    for it alone, as who shares an open file shares its flags and locks. `output`: bytes that it may return at once.
    `tests`: how many share it, each with limits of time of its own; `longest` is the CPU time of the one that took
    most. Raises InfrastructureError or OSError if the process could not be brought to the point at which it meets the
    program; after that, nothing a program does may look like a failure of the machine.
    """

    def __init__(
        self,
        server: Server,
        role: str,
        job: dict[str, Any],
        limits: Limits,
        streams: Sequence[int],
        output: int,
        tests: int = 1,
    ) -> None:
        self._server = server
        self._limits = limits
        self._started = time.monotonic()
        self._buffer = bytearray()
        self._output = output
        self._role = role
        self._longest = output + _ENVELOPE if role == "program" else _TESTS_BYTES
        self._fenced = False
        self._exit_code: int | None = None
        self._handle: int | None = None
        self._host_pid: int | None = None
        self.cpu_seconds = self.wall_seconds = self.longest = 0.0
        self._since, self._before = self._started, (0.0, 0.0)  # when this test began, and what was used until then
        most = min(tests * limits.cpu_seconds, max(limits.cpu_seconds, limits.budget_seconds))
        self.memory_kb = 0
        order = {
            "role": role,
            "cpu_seconds": math.ceil(MARGIN * most) + 1,  # the kernel's limit, should this process be held up
            "memory_bytes": limits.memory_mb << 20,
            "file_bytes": max(FILE_BYTES, output + 1),
            "value_bytes": output,
        }
        with contextlib.ExitStack() as mine, contextlib.ExitStack() as its:
            requests, self._requests = _pipe(its, mine)
            self._answers, answers = _pipe(mine, its)
            os.set_blocking(self._requests, False)
            os.set_blocking(self._answers, False)
            self._unsent = self._write(self._line(job))  # before the process is there: it need not wait then
            self._process = server.start(order, [*streams, requests, answers])
            self._resources = mine.pop_all()

    @property
    def out_of_reach(self) -> bool:
        """Return whether no signal of a different sandbox process reaches this one."""
        return bool({NAMESPACES, SECCOMP} & set(self._server.layers))

    def send(self, message: dict[str, Any]) -> None:
        self._send(self._line(message))

    def _line(self, message: dict[str, Any]) -> memoryview:
        line = json.dumps(message).encode() + b"\n"
        self._longest = max(self._longest, self._output + 2 * len(line) + _ENVELOPE)  # it may hand back what it gets
        return memoryview(line)

    def _hand_over(self) -> None:
        rest, self._unsent = self._unsent, self._unsent[:0]
        self._send(rest)

    def _send(self, rest: memoryview) -> None:
        while rest := self._write(rest):
            self._await(self._requests, select.POLLOUT)

    def _write(self, rest: memoryview) -> memoryview:
        """Write to the pipe, and return what it does not take yet. How a process ended, receive() will say."""
        try:
            while rest:
                rest = rest[os.write(self._requests, rest) :]
        except BlockingIOError:
            return rest
        except BrokenPipeError:
            pass
        return rest[:0]

    def receive(self) -> dict[str, Any]:
        """Return the next message. Raises Failed where none comes, or what comes is not a message."""
        if not self._fenced:
            self._check_fence()
        return self._next()

    def finish(self) -> None:
        """Wait until the process ends by itself, without a message. Raises Failed where a limit ends it."""
        try:
            self._hand_over()
            while self._exit_code is None:
                self._note(self._server.ending(self._process, self._patience()))
        finally:
            if not self._fenced:
                self._check_fence()

    def _check_fence(self) -> None:
        """Raise InfrastructureError unless the first message says that the process is fenced in: until then, no failure
        is the program's. But where signals reach the tests, the program, which runs already, may have ended them: that
        raises Failed.
        """
        try:
            self._hand_over()
            message = self._next()
        except Failed as failed:
            if self._role == "tests" and (failed.exit_code or 0) < 0 and not self.out_of_reach:
                raise
            raise InfrastructureError(f"a sandbox process did not start: {failed.reason}") from failed
        if "ready" not in message:
            raise InfrastructureError(f"a sandbox process could not be fenced in: {message}")
        self._fenced = True

    def _next(self) -> dict[str, Any]:
        searched = 0
        while (end := self._buffer.find(b"\n", searched) + 1) == 0:
            searched = len(self._buffer)  # nothing is searched twice: it may come byte by byte
            if searched > self._longest:
                raise Failed(Status.OUTPUT_LIMIT, f"returned more than {self._longest >> 10} kB")
            try:
                data = os.read(self._answers, 1 << 16)
            except BlockingIOError:
                self._await(self._answers, select.POLLIN)
                continue
            if not data:
                raise self._ended()
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        with contextlib.suppress(ValueError):
            message = wire.parse(line)
            if type(message) is dict and len(message) == 1:
                return message
        raise Failed(Status.RUNTIME_ERROR, FOREIGN)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        """End it with all its threads, unless it has ended, and measure it."""
        with self._resources:
            if self._exit_code is None:
                self._server.kill(self._process)
                self._note(self._server.ending(self._process, PATIENCE))
            if self._exit_code is None:
                raise self._server.lost("a process did not end")

    def _note(self, ending: dict[str, Any] | None) -> None:
        if ending is not None:
            self.wall_seconds = time.monotonic() - self._started
            self._exit_code = ending["code"]
            self.cpu_seconds, self.memory_kb = ending["cpu_seconds"], ending["memory_kb"]
            self.longest = max(self.longest, self.cpu_seconds - self._before[0])

    def _ended(self) -> Failed:
        """Return how a process ended that has closed its pipe; wait for its end, for which it may take its time."""
        while self._exit_code is None:
            self._note(self._server.ending(self._process, self._patience()))
        if self._exit_code < 0:
            return Failed(Status.RUNTIME_ERROR, f"killed by signal {-self._exit_code}", self._exit_code)
        return Failed(
            Status.RUNTIME_ERROR, f"ended with exit code {self._exit_code} instead of answering", self._exit_code
        )

    def next_test(self) -> None:
        """Count time for the next test from here on. Asking what was used takes longer than many a test, so what quick
        ones use counts for the one after them. Raises Failed where all tests together used too much.
        """
        now = time.monotonic()
        if now - self._since < _QUICK:
            return
        used = self._used()
        if used[0] > MARGIN * self._limits.budget_seconds:
            raise Failed(Status.TIME_LIMIT)
        self.longest = max(self.longest, used[0] - self._before[0])
        self._since, self._before = now, used

    def _await(self, descriptor: int, event: int) -> None:
        while not ready(descriptor, event, self._patience()):
            pass

    def _patience(self) -> float:
        """Return the seconds that may pass before the limits are looked at again. Raises Failed where one is
        exceeded."""
        stop = MARGIN * self._limits.cpu_seconds
        wall = time.monotonic() - self._since
        if wall < stop:
            return stop - wall
        used, waited = (after - before for after, before in zip(self._used(), self._before, strict=True))
        if used > stop:
            raise Failed(Status.TIME_LIMIT, f"used more than {self._limits.cpu_seconds} s of CPU time")
        if wall - waited > self._limits.wall_seconds:
            raise Failed(Status.TIME_LIMIT, f"not finished after {self._limits.wall_seconds} s")
        return max(0.01, min(stop - used, self._limits.wall_seconds - wall + waited))

    def _used(self) -> tuple[float, float]:
        """Return the seconds of CPU time so far, and the seconds of waiting for a processor; zeros where the kernel
        does not say."""
        try:
            if self._handle is None:
                self._handle = self._server.handle(self._process)
                if self._handle is None:
                    return 0.0, 0.0
                self._resources.callback(os.close, self._handle)
            if self._host_pid is None:
                info = Path(f"/proc/self/fdinfo/{self._handle}").read_text()
                self._host_pid = next(int(line[4:]) for line in info.splitlines() if line.startswith("Pid:"))
            clock = (~self._host_pid << 3) | 2  # as clock_getcpuclockid() makes it
            waited = int(Path(f"/proc/{self._host_pid}/schedstat").read_text().split()[1]) / 1e9
            return time.clock_gettime(clock), waited
        except (OSError, StopIteration, IndexError):
            return 0.0, 0.0


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Return a pipe whose ends close with their owners."""
    ends = os.pipe()
    reader.callback(os.close, ends[0])
    writer.callback(os.close, ends[1])
    return ends
