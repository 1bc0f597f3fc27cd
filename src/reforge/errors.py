"""The two kinds of failure that are not bugs (`exit_code` is what the command line leaves with), and those got over."""

import logging
import threading
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)


class UserError(Exception):
    """Bad input or setting. The message is one paragraph: what was wrong, where, and what to do."""

    exit_code = 2


class InfrastructureError(Exception):
    """A part of the machinery failed (a server, a process, a disk). Never scored as a wrong answer; worth a retry."""

    exit_code = 75  # EX_TEMPFAIL


class Events:
    """Failures of a part that were got over: each is logged, counted, and told to `tell`, such as a timeline. Any
    thread may note one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.tell: Callable[[str], None] = lambda what: None
        self._lock = threading.Lock()

    def note(self, what: str, words: str) -> None:
        with self._lock:
            self.counts[what] += 1
        log.warning("%s", words)
        self.tell(what)
