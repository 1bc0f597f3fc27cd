"""The lock of those who work in this folder. Runs share it, through whichever door they came; whoever replaces
params.yaml holds it alone, because a run reads those values again for each stage."""

from __future__ import annotations

import fcntl
import os
import shlex
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

import psutil

from reforge.errors import UserError
from reforge.machine.process import CONDUCTORS

LOCK = Path(".runs/workspace.lock")
_FLOCK = "hhqqi4x"  # struct flock of Linux on 64 bits: type, whence, start, length, pid


@contextmanager
def occupied(change: Callable[[], None] | None = None, patience: float = 3.0) -> Iterator[None]:
    """Be one of those who work in the current folder while the block runs. `change` is called before, while nobody else
    works there; raises UserError, which says who does, if somebody still does after `patience` seconds.

    The lock is a record lock, which the system takes back from a process that has died. No process may enter twice at a
    time: closing the inner one would give both back.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as file:
        deadline = time.monotonic() + patience
        if change:
            while (holder := _other_than(file) or _dvc_here()) and time.monotonic() < deadline:
                time.sleep(0.1)
            if holder:
                raise UserError(
                    f"params.yaml stays as it is: {described(holder)} Its next stages would run on other values than "
                    "its first. For two experiments at once use two clones or git worktrees."
                )
            change()
        fcntl.lockf(file, fcntl.LOCK_SH)  # whoever changes the values is about to be done
        yield


def _other_than(file: IO[str]) -> int:
    """Return the pid of a process that shares the lock of `file`, or -1 if it has just ended. If there is none, make
    the lock ours alone and return 0."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        return -1 if kind == fcntl.F_UNLCK else int(pid)  # it has ended just now: try again
    return 0


def _dvc_here() -> int:
    """Return the pid of a `dvc repro` or `dvc exp run` of this folder, be it between two of its stages or before the
    first; 0 if there is none."""
    here = Path.cwd()
    for process in psutil.process_iter():
        try:
            if runs_stages(process) and here in (at := Path(process.cwd()), *at.parents):
                return process.pid
        except psutil.Error:
            continue  # the process is gone, or somebody else's
    return 0


def runs_stages(process: psutil.Process) -> bool:
    """Return whether the process is a `dvc repro` or `dvc exp run`. Raises psutil.Error where it is gone, or somebody
    else's."""
    words = {os.path.basename(word) for word in process.cmdline()[:5]}
    return "dvc" in words and bool(words & {"repro", "exp"})


def described(pid: int) -> str:
    """Return as text who works here, since when, and how to end that."""
    try:
        holder = psutil.Process(pid)
        first = next((above for above in reversed(holder.parents()) if _words(above) & CONDUCTORS), holder)
        command, since = _command(holder), datetime.fromtimestamp(first.create_time())
        under = f", started by `{_command(first)}` (process {first.pid})" if first.pid != pid else ""
        remedy = f"stop it with `kill {first.pid}` (its finished steps are kept)"
    except (psutil.Error, ValueError):
        command, under, since, remedy = "another process", "", datetime.now(), "stop it"
    return (
        f"`{command}` (process {pid}{under}) has worked in this folder since {since:%H:%M:%S on %Y-%m-%d}. Wait for "
        f"it, or {remedy}."
    )


def _words(process: psutil.Process) -> set[str]:
    """Return the names in the beginning of a process's command, but not `prefect`: its worker goes on when a run has
    ended, and it is the run that is in the way."""
    return {os.path.basename(word) for word in process.cmdline()[:3]} - {"prefect"}


def _command(process: psutil.Process) -> str:
    """Return the command as somebody would have typed it, on one line."""
    words = process.cmdline()
    if len(words) > 1 and os.path.basename(words[0]).startswith("python") and not words[1].startswith("-"):
        words = words[1:]
    typed = " ".join(shlex.join([os.path.basename(words[0]), *words[1:]]).split()) if words else process.name()
    return typed if len(typed) <= 120 else f"{typed[:119]}…"
