"""Run a command on a leash: whatever ends its starter, even `kill -9`, ends the command and all its descendants.

`python flows/leash.py STARTER_PID COMMAND...` adopts every orphan below it, so a server that a stage started dies too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL


def leashed(command: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
    """Start `command` on a leash held by the calling process. SIGTERM to the leash ends all of it."""
    return subprocess.Popen(
        [sys.executable, __file__, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **popen,
    )


def end(processes: list[psutil.Process], grace: float = GRACE_SECONDS) -> None:
    """Send SIGTERM to all, and SIGKILL to those that are still there after `grace` seconds."""
    for sign, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(sign)
        _, processes = psutil.wait_procs(processes, timeout=seconds)
        if not processes:
            return


def main(starter: int, command: list[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the starter, which then sends SIGTERM
    signal.signal(signal.SIGTERM, _raise)
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != starter:  # the starter died before the line above
        return 1
    me = psutil.Process()
    try:
        child = subprocess.Popen(command)
        return _wait(child.pid)
    except InterruptedError:
        return 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end(me.children(recursive=True))


def _wait(pid: int) -> int:
    """Return the command's exit code; orphans that were adopted meanwhile are reaped too."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _raise(number: int, frame: FrameType | None) -> None:
    raise InterruptedError


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
