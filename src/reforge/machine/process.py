"""The processes of a stage: it runs once at a time, and ends when those who started it are gone."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from reforge.errors import UserError

CONDUCTORS = {"make", "gmake", "dvc", "prefect"}
GRACE_SECONDS = 8.0  # from SIGTERM to SIGKILL; together with the poll less than the lock's patience


@contextmanager
def exclusive(lock: Path, what: str, patience: float = 20.0) -> Iterator[None]:
    """Hold `lock`, waiting for a predecessor that is still dying. The holder's pid is in the file. Raises UserError
    where it is still held after `patience` seconds.

    It is a record lock (lockf), not flock: forked children do not inherit it, so an orphaned worker cannot keep it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                holder = lock.read_text().strip() or "unknown"
                raise UserError(
                    f"{what} is already running as process {holder} in this folder. Wait for it, or stop it with "
                    f"`kill {holder}`; its finished steps are kept. For two runs at once use two worktrees."
                ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def held(lock: Path) -> bool:
    """Return whether another process has `lock` now."""
    if not lock.is_file():
        return False
    with lock.open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def stop_cleanly_on_sigterm() -> None:
    """Make SIGTERM unwind like an exception, so that servers are stopped and files closed on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.unraisablehook = _again


def _again(lost: sys.UnraisableHookArgs) -> None:
    """Send SIGTERM once more where the stop was lost: Python drops what is raised in a finaliser or a callback, and
    says `Exception ignored`."""
    if issubclass(lost.exc_type, SystemExit):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(lost)


def die_with_conductor(poll_seconds: float = 1.0) -> None:
    """Stop this process soon after the death of whoever runs it (`kill -9` of dvc, make or a Prefect process).

    PR_SET_PDEATHSIG would not do: it fires when the parent's *thread* ends (Prefect starts tasks from threads), and
    does not when a shell stands between. Without a conductor, as in `nohup reforge stage NAME &`, nobody is watched.
    """
    watched = _conductors()
    if watched:
        threading.Thread(target=_watch, args=(watched, poll_seconds), name="conductor-watch", daemon=True).start()


def _conductors() -> list[psutil.Process]:
    """Return the parents up to the outermost conductor; for a rank of a learner, at least its launcher."""
    try:
        parents = psutil.Process().parents()
        names = [{os.path.basename(word) for word in parent.cmdline()[:3]} for parent in parents]
    except psutil.Error:  # one of them ended while we looked: its successor is init, which nobody needs to watch
        return []
    launcher = -1 if rank() is None else 0
    outermost = max((depth for depth, words in enumerate(names) if words & CONDUCTORS), default=launcher)
    return parents[: outermost + 1]


def _watch(watched: list[psutil.Process], poll_seconds: float) -> None:
    while all(map(_alive, watched)):
        time.sleep(poll_seconds)
    print("reforge: the process that started this stage is gone; stopping", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def rank() -> int | None:
    """Return the rank of this process among those of a learner; None where it is none of several."""
    return int(os.environ["RANK"]) if "RANK" in os.environ else None


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
