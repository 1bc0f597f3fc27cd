"""How a peer's process takes its turns: for each line that it is given it does one step and answers with the seconds.
Needs only the standard library; each peer runs in an environment of its own."""

import os
import sys
import time
from collections.abc import Callable


def take(step: Callable[[], None]) -> None:
    """Do `step` for each line of the standard input, until it ends."""
    for _ in sys.stdin:
        began = time.perf_counter()
        step()
        _answers.write(f"{time.perf_counter() - began}\n")
        _answers.flush()


_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever else a peer prints is no answer
