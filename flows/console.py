"""Relay what a running stage prints to two readers: whole lines to the Prefect log, progress bars to the terminal.

A progress bar rewrites its line with carriage returns. A terminal shows that as it is; a file or a CI log gets the
bar's state every PLAIN_SECONDS as a line; the Prefect log gets its last state only.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from typing import IO

from reforge.machine.progress import PLAIN_SECONDS, TERMINAL

# DVC's housekeeping messages, of no interest to somebody who did not ask for DVC. The Prefect log has them all.
_HOUSEKEEPING = re.compile(
    r"""^( Running\ stage\ ' | >\ | Generating\ lock\ file | Updating\ lock\ file | To\ track\ the\ changes
         | \s*git\ add | To\ enable\ auto\ staging | \s*dvc\ config\ core | Use\ `dvc\ push`
         | Stage\ '.*'\ (didn't|is\ cached)
         | WARNING:\ Process\ '.*RWLock | Data\ and\ pipelines\ are | ERROR:\ failed\ to\ reproduce | \s*$ )""",
    re.VERBOSE,
)


def say(text: str) -> None:
    """Print a line for the person at the terminal, if there is one."""
    if TERMINAL in os.environ:
        print(text, flush=True)


def relay(stream: IO[bytes], log: Callable[[str], None]) -> list[str]:
    """Pass `stream` on as it comes, and return its whole lines."""
    lines: list[str] = []
    mode, buffer, shown = os.environ.get(TERMINAL), b"", 0.0
    while chunk := os.read(stream.fileno(), 65536):
        *pieces, buffer = re.split(rb"(?<=[\r\n])", (buffer + chunk).replace(b"\r\n", b"\n"))
        for piece in pieces:
            text = piece.rstrip(b"\r\n").decode(errors="replace")
            if piece.endswith(b"\n"):
                lines.append(text)
                log(text)
                if mode and not _HOUSEKEEPING.match(text):
                    print(f"\r\x1b[K{text}" if mode == "tty" else text, flush=True)
            elif mode == "tty":
                sys.stdout.write(f"\r\x1b[K{text}")
                sys.stdout.flush()
            elif mode and text and time.monotonic() - shown > PLAIN_SECONDS:
                shown = time.monotonic()
                print(text, flush=True)
    if buffer:
        lines.append(buffer.decode(errors="replace"))
        log(lines[-1])
        if mode:
            print(lines[-1], flush=True)
    return lines


def last_paragraph(lines: list[str]) -> str:
    """Return why a command failed, by its output: Reforge's own paragraph, or else the last line, which in a traceback
    names the error."""
    said = [line for line in lines if not _HOUSEKEEPING.match(line)]
    own = [line for line in said if line.startswith("reforge: ")]
    return (own or said or [""])[-1].removeprefix("reforge: ")
