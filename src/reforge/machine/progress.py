"""Show how far a stage is: as a bar at a terminal, and in a log file as whole lines, one in fifteen seconds."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from tqdm import tqdm

PLAIN_SECONDS = 15.0
TERMINAL = "REFORGE_TERMINAL"  # a variable: "tty" or "plain" where a person reads what a flow relays, else unset


class _Lines:
    """A file for tqdm that prints lines without carriage returns: the newest state now and then, and the last one."""

    def __init__(self) -> None:
        self._shown, self._state = -PLAIN_SECONDS, ""

    def write(self, text: str) -> None:
        self._state = text.strip() or self._state
        if self._state and (text == "\n" or time.monotonic() - self._shown >= PLAIN_SECONDS):
            print(self._state, file=sys.stderr, flush=True)
            self._shown, self._state = time.monotonic(), ""

    def flush(self) -> None:
        pass


def bar(*given: Any, **options: Any) -> tqdm[Any]:
    """Return a tqdm bar that suits whoever reads standard error: a terminal or a log file."""
    seen = sys.stderr.isatty() or os.environ.get(TERMINAL) == "tty"
    made: tqdm[Any] = tqdm(*given, **(options if seen else {**options, "file": _Lines(), "ncols": 100}))
    return made
