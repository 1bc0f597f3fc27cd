"""A sandbox process as the parent sees it: started, talked to within a deadline, killed, measured."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reforge.errors import InfrastructureError
from reforge.types import Status

_ROOT = str(Path(__file__).resolve().parents[2])
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from reforge.sandbox.child import main; "
    "del sys.path[0]; main(*sys.argv[2:])"
)
# -I would do more at once, but makes the interpreter ignore PYTHONHASHSEED: then the order of sets differs each time.
_PYTHON = [sys.executable, "-s", "-P", "-S", "-c", _BOOT, _ROOT]
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}
_ENVELOPE = 1024  # bytes around a value in a message
_TESTS_BYTES = 1 << 27  # of a message from the tests; they are ours
FOREIGN = "the program wrote to the channel of its results"


@dataclass(frozen=True)
class Limits:
    """Of one process: of each stdin test, and of all call or assert tests of a program together.

    The CPU time decides; the wall clock is a backstop for programs that sleep. `output_kb` bounds what it prints, each
    file it writes and each value it returns.
    """

    cpu_seconds: float
    wall_seconds: float
    memory_mb: int
    output_kb: int

    @property
    def output_bytes(self) -> int:
        return self.output_kb * 1024


class Failed(Exception):
    """The program did not pass, and this is how. `exit_code` where its process ended by itself."""

    def __init__(self, status: Status, reason: str = "", exit_code: int | None = None) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.exit_code = exit_code


class Child:
    """A process of its own session, in a folder of its own. On leaving the context, everything of it is gone.

    `role`: "program" or "tests". Raises InfrastructureError or OSError where the process could not be brought to the
    point at which it meets the program; after that, nothing a program does may look like a failure of the machine.
    """

    def __init__(self, role: str, limits: Limits, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL):
        self._limits = limits
        self._deadline = time.monotonic() + limits.wall_seconds
        self._buffer = bytearray()
        self._longest = limits.output_bytes + _ENVELOPE if role == "program" else _TESTS_BYTES
        self._return_code: int | None = None
        self.cpu_seconds = 0.0
        with contextlib.ExitStack() as mine, contextlib.ExitStack() as its:
            folder = tempfile.mkdtemp(prefix="reforge-")
            mine.callback(shutil.rmtree, folder, ignore_errors=True)
            requests, self._requests = _pipe(its, mine)
            self._answers, answers = _pipe(mine, its)
            os.set_blocking(self._requests, False)
            numbers = [requests, answers, math.ceil(limits.cpu_seconds), limits.memory_mb << 20]
            numbers += [limits.output_bytes + 1, limits.output_bytes, os.getpid()]
            self._process = subprocess.Popen(
                [*_PYTHON, role, *map(str, numbers)],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                pass_fds=(requests, answers),
                cwd=folder,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
            self._resources = mine.pop_all()

    def start(self, job: dict[str, Any]) -> None:
        """Wait until the process has confined itself, then hand it its work."""
        try:
            self.receive()
        except Failed as failed:
            raise InfrastructureError(f"a sandbox process did not start: {failed.reason}") from failed
        self.send(job)

    def send(self, message: dict[str, Any]) -> None:
        rest = memoryview(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(BrokenPipeError):  # it has ended; receive() will say how
            while rest:
                self._await(self._requests, select.POLLOUT)
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._requests, rest) :]

    def receive(self) -> dict[str, Any]:
        """The next message. Raises Failed where none comes, or one that is none."""
        while (end := self._buffer.find(b"\n") + 1) == 0:
            if len(self._buffer) > self._longest:
                raise Failed(Status.OUTPUT_LIMIT, f"returned more than {self._limits.output_kb} kB")
            self._await(self._answers, select.POLLIN)
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise self._ended()
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
            if type(message) is dict and len(message) == 1:
                return message
        raise Failed(Status.RUNTIME_ERROR, FOREIGN)

    def kill(self) -> None:
        """End it with all its threads, and measure it."""
        if self._return_code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._reap(0)

    def check_cpu(self) -> None:
        """Of an ended process: the kernel counts whole seconds, and a program may ignore its first signal."""
        if self.cpu_seconds > self._limits.cpu_seconds or self._return_code == -signal.SIGXCPU:
            raise Failed(Status.TIME_LIMIT, f"used more than {self._limits.cpu_seconds} s of CPU time")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        with self._resources:
            self.kill()

    def _ended(self) -> Failed:
        """Wait, within the deadline, for the end of a process that has closed its pipe, and say how it ended."""
        while self._return_code is None:
            self._reap(os.WNOHANG)
            if self._return_code is None:
                if time.monotonic() > self._deadline:
                    return self._overdue()
                time.sleep(0.001)
        self.check_cpu()
        if self._return_code < 0:
            return Failed(Status.RUNTIME_ERROR, f"killed by signal {-self._return_code}")
        reason = f"ended with exit code {self._return_code} instead of answering"
        return Failed(Status.RUNTIME_ERROR, reason, self._return_code)

    def _await(self, descriptor: int, event: int) -> None:
        poll = select.poll()  # select() fails above 1024 descriptors, which a trainer may hold
        poll.register(descriptor, event)
        left = self._deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise self._overdue()

    def _overdue(self) -> Failed:
        return Failed(Status.TIME_LIMIT, f"not finished after {self._limits.wall_seconds} s")

    def _reap(self, flags: int) -> None:
        """`Popen.wait` would throw the usage away."""
        pid, status, usage = os.wait4(self._process.pid, flags)
        if pid:
            self._return_code = self._process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = usage.ru_utime + usage.ru_stime


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends close with their owners."""
    ends = os.pipe()
    reader.callback(os.close, ends[0])
    writer.callback(os.close, ends[1])
    return ends
