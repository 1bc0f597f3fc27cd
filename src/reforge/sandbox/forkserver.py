"""The judge's side of a fork-server."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from reforge.errors import InfrastructureError
from reforge.records import Status
from reforge.sandbox.isolation import Isolation, level_of
from reforge.sandbox.limits import Failed

_ROOT = str(Path(__file__).resolve().parents[2])
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from reforge.sandbox.inside.server import main; "
    "del sys.path[0]; main(*sys.argv[2:])"
)
# -I would do more at once, but makes the interpreter ignore PYTHONHASHSEED: then the order of sets differs each time.
_PYTHON = [sys.executable, "-s", "-P", "-S", "-c", _BOOT, _ROOT]
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PATH": "/usr/bin:/bin",
    "OPENBLAS_NUM_THREADS": "1",  # a fork has only the thread that forked
}
PATIENCE = 60.0  # seconds for a server to start, and for any answer of it beyond what it was told to wait
_MESSAGE = 1 << 16


class Refused(InfrastructureError):
    """The system does not let a server be as it was asked to."""


class Lost(InfrastructureError):
    """A server that had started has died, or answers no more."""


class Server:
    """One fork-server. Raises InfrastructureError whenever it cannot be had or does not answer; it is then dead.

    `layers` are those that it achieved, `refused` says why it did not achieve the others. `broken`: what a program did
    to the folder that programs run in; no other program may meet that, and the server must be replaced.
    """

    def __init__(self, layers: tuple[str, ...], packages: list[str], scratch: str) -> None:
        self._started = 0  # processes that were started so far
        self._endings: dict[int, dict[str, Any]] = {}  # endings that were reported and not yet asked for
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = json.dumps({"layers": layers, "packages": packages, "scratch": scratch})
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*_PYTHON, str(theirs.fileno()), asked],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=_ENVIRONMENT,
                    start_new_session=True,
                )
        except OSError as error:
            self._door.close()
            raise InfrastructureError(f"a fork-server could not be started: {error}") from error
        report, _ = self._hear(PATIENCE)
        if "failed" in report:
            self.close()
            raise Refused(f"a fork-server did not start: {report['failed']}")
        self.layers: tuple[str, ...] = tuple(report["layers"])
        self.refused: dict[str, str] = report["refused"]
        self.interpreter: str = report["interpreter"]
        self.resident_kb: int = report["resident_kb"]  # memory that each of its processes begins with
        self.reads_all: bool = report["reads_all"]  # whether its programs read whatever root may and no wall hides
        self.broken = ""

    @property
    def isolation(self) -> Isolation:
        return level_of(self.layers)

    def start(self, order: dict[str, Any], descriptors: list[int]) -> int:
        """Start a process, and return the number by which both sides know it. Raises Failed once a program has broken
        the server."""
        if self.broken:
            raise Failed(Status.RUNTIME_ERROR, self.broken)
        self._started += 1
        self._tell({"order": "start", "process": self._started, **order}, descriptors)
        return self._started

    def handle(self, process: int) -> int | None:
        """Return a pidfd of the process; None where it has ended or the kernel has none."""
        self._tell({"order": "handle", "process": process})
        while True:
            message, handles = self._hear(PATIENCE)
            if "handle" in message:
                return handles[0] if handles else None

    def kill(self, process: int) -> None:
        self._tell({"order": "kill", "process": process})

    def ending(self, process: int, seconds: float) -> dict[str, Any] | None:
        """Return how the process ended and what it used; None where it does not end within `seconds`."""
        while process not in self._endings:
            if not ready(self._door.fileno(), select.POLLIN, seconds):
                return None
            self._hear(0)
        return self._endings.pop(process)

    def gone(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self._door.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._door, [json.dumps(message).encode()], descriptors or [])
        except OSError as error:
            raise self.lost(str(error)) from error

    def _hear(self, seconds: float) -> tuple[dict[str, Any], list[int]]:
        self._door.settimeout(seconds)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._door, _MESSAGE, 1)
        except OSError as error:  # a TimeoutError is one
            raise self.lost(str(error) or type(error).__name__) from error
        if not data:
            raise self.lost("it ended")
        message = json.loads(data)
        if "ended" in message:
            self._endings[message["ended"]] = message
            self.broken = self.broken or message["broken"]
        return message, descriptors

    def lost(self, reason: str) -> Lost:
        """End the server, and return the error to raise."""
        self._process.kill()
        self.close()
        return Lost(f"a fork-server was lost: {reason} (exit code {self._process.returncode})")


def ready(descriptor: int, event: int, seconds: float) -> bool:
    """Return whether `event` comes within `seconds`. `select` would fail above 1024 descriptors, which a trainer may
    hold."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(seconds * 1000))
