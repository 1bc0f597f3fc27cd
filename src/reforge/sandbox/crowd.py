"""Let programs run side by side, or one alone to measure its time again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.25  # the share of all time that may pass with one program alone: everybody else waits
SAVED = 5.0  # seconds of the time alone that may be used at once


class Crowd:
    """Lets in many at a time, or one alone, who enters as soon as those before have left.

    Where more than a share of the time has gone to being alone, who asks for it joins the others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting = 0  # how many wait to be alone
        self._left, self._counted = SAVED, clock()  # seconds alone that are left, and when they were counted
        self._ended = clock()  # when somebody was alone last

    @contextmanager
    def joined(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._inside >= 0 and not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let the caller in alone if there is time for it, and with the others if not."""
        with self._changed:
            asked = self._clock()  # from now on nobody else is let in
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._inside == 0 or self._pay(0.0) <= 0)
                alone = self._inside == 0 and self._pay(0.0) > 0  # time may have come in since it was looked at
                if alone:
                    self._inside = -1
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        if not alone:
            with self.joined():
                yield
            return
        try:
            yield
        finally:
            with self._changed:
                self._inside = 0
                self._pay(self._clock() - max(asked, self._ended))
                self._ended = self._clock()
                self._changed.notify_all()

    def _pay(self, seconds: float) -> float:
        """Take these seconds from the allowance, and return what is left of it."""
        now = self._clock()
        self._left = min(SAVED, self._left + SHARE * (now - self._counted)) - seconds
        self._counted = now
        return self._left
