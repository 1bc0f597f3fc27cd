"""The limits on what a program may use, and how it can fail."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from reforge.errors import UserError
from reforge.records import Status
from reforge.sandbox.reasons import fit

# A program is stopped at this many times its CPU limit: measured on a busy machine, the same work costs up to so much
# more. What is right and ends between the limit and here is measured again.
MARGIN = 1.6


@dataclass(frozen=True)
class Limits:
    """The limits of one process. Time is that of each stdin and call test, and of all assert tests of a program
    together.

    The CPU time decides. The wall clock is a backstop for programs that sleep; time spent waiting for a processor does
    not count. `memory_mb` is real memory. `output_kb` bounds what it prints and each value it returns; where a test's
    expected answer is long, it may be twice as long. `budget_seconds` is the CPU time of all tests of a program
    together. `exposed`: "refuse" or "accept" a right verdict that the program itself decided (relay.py).
    """

    cpu_seconds: float
    wall_seconds: float
    memory_mb: int
    output_kb: int
    budget_seconds: float = math.inf
    exposed: str = "refuse"

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name == "exposed":
                if self.exposed not in ("refuse", "accept"):
                    raise UserError(f"Limits: exposed is refuse or accept, not {self.exposed!r}.")
            elif not getattr(self, field.name) > 0:
                raise UserError(f"Limits: {field.name} must be more than 0, not {getattr(self, field.name)}.")

    def output_bytes(self, expected: int) -> int:
        """Return how many bytes an answer may have where the expected one has `expected`."""
        return max(self.output_kb * 1024, 2 * expected + 1024)


class Failed(Exception):
    """The program did not pass, and this is how. `exit_code`: how its process ended by itself, or, negative, by a
    signal.

    Whoever wrote the reason, it is fit for a verdict from here on.
    """

    def __init__(self, status: Status, reason: str = "", exit_code: int | None = None) -> None:
        self.reason = fit(reason)
        super().__init__(status, self.reason)
        self.status = status
        self.exit_code = exit_code
