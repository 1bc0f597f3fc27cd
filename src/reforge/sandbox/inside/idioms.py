"""Provide what programs take for granted of the machine they were written for, and what a fenced-in process has not. It
is set up once in the fork-server, before any program.
"""

from __future__ import annotations

import _io
import _thread
import atexit
import builtins
import gc
import io
import logging
import os
import random
import resource
import sys
import threading
from typing import Any

_STREAMS = {
    **{f"{folder}/{number}": number for folder in ("/dev/fd", "/proc/self/fd") for number in range(3)},
    **{f"/dev/{name}": number for number, name in enumerate(("stdin", "stdout", "stderr"))},
}
_setrlimit, _prlimit = resource.setrlimit, resource.prlimit


def look_new() -> None:
    """Make the interpreter look to programs as if it had just started, and the same each time, as verdicts must not
    depend on more. This is done here, because every page that a fork writes to must be copied for it.
    """
    _provide()
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    errors = sys.stdin.errors
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors=errors, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors=errors, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for name in [name for name in sys.modules if name.partition(".")[0] == "reforge"]:
        del sys.modules[name]  # with the package goes the path to the rest of it
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # else made by `site`, which is not loaded
    sys.argv = ["program.py"]


def _provide() -> None:
    """Allow long integers as text, `/dev/stdin` without /proc, and limits that ask for more than there is."""
    sys.set_int_max_str_digits(0)
    atexit.unregister(logging.shutdown)  # it takes its time: wind_up() asks whether there is anything to do
    builtins.open = io.open = _opening(_io.open, os.dup)
    os.open = _opening(os.open, os.dup)
    resource.setrlimit, resource.prlimit = _clamped_limit, _clamped_prlimit


def _opening(original: Any, duplicate: Any) -> Any:
    """Return an `open` to which the names of the standard streams mean those of this process: there is no /proc to find
    them in."""
    wants_descriptor = original is os.open

    def open(file: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            stream = _STREAMS.get(file.__fspath__() if hasattr(file, "__fspath__") else file)
        except TypeError:  # what cannot be hashed is no name either
            stream = None
        if stream is None:
            return original(file, *arguments, **keywords)
        copy = duplicate(stream)
        return copy if wants_descriptor else original(copy, *arguments, **keywords)

    return open


def _clamped_limit(what: int, limits: Any, /) -> None:
    """Set a limit as `resource.setrlimit` does, but give what there is to a program that asks for more. Programs ask
    for the largest stack that a machine allows, and do not need it.
    """
    _setrlimit(what, _within(what, limits))


def _clamped_prlimit(pid: int, what: int, limits: Any = None, /) -> Any:
    return _prlimit(pid, what) if limits is None else _prlimit(pid, what, _within(what, limits))


def _within(what: int, limits: Any) -> Any:
    highest = resource.getrlimit(what)[1]
    if highest == resource.RLIM_INFINITY:
        return limits
    return tuple(highest if value == resource.RLIM_INFINITY else min(value, highest) for value in limits)


def wind_up(scope: dict[str, Any], finalizers: bool) -> bool:
    """End a program as the interpreter does: wait for threads, run what was registered, and flush every writer that is
    still open. Return False where what was printed could not be written. Nothing is freed, unless there are
    `finalizers` to run.
    """
    if _thread._count():
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if len(logging._handlerList) > 1:  # type: ignore[attr-defined]  # the first is logging's own
        logging.shutdown()
    written = flushed()
    if finalizers:
        scope.clear()
        gc.collect()
        written &= flushed()
    return written


def flushed() -> bool:
    """Flush sys.stdout, and return whether that went well; then, as the interpreter does, all other writers, whose
    failures do not count."""
    written = True
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
    except (OSError, ValueError):
        written = False
    objects = gc.get_objects()
    types = list(map(type, objects))
    kinds = dict(zip(map(id, types), types, strict=True))  # by number: a program's own may have no hash
    writers = {number for number, kind in kinds.items() if issubclass(kind, _io._IOBase)}
    open_ones = [it for it in objects if id(type(it)) in writers] if writers else []
    texts = [it for it in open_ones if issubclass(type(it), io.TextIOBase)]
    others = [it for it in open_ones if not issubclass(type(it), io.TextIOBase)]
    for writer in (sys.__stdout__, *texts, *others):
        try:
            if writer is not None and not writer.closed:
                writer.flush()
        except BaseException:
            continue
    return written
