"""The two kinds of failure that are not bugs (`exit_code` is what the command line exits with), and a log of failures
that were recovered from."""

import errno
import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)


class UserError(Exception):
    """Bad input or setting. The message is one paragraph: what was wrong, where, and what to do."""

    exit_code = 2


class InfrastructureError(Exception):
    """A part of the machinery failed (a server, a process, a disk). Never scored as a wrong answer; worth a retry."""

    exit_code = 75  # EX_TEMPFAIL


def raised_at(error: Exception) -> str:
    """Return where in the caller's own call an exception was raised, as `file.py:line`: the innermost place in the file
    of the function that was called. No source is read for it."""
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    called = places[1:] or places
    return "{}:{}".format(*next(place for place in reversed(called) if place[0] == called[0][0]))


_OF_THE_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


def disk_failure(error: OSError) -> InfrastructureError:
    """Return the error to report for a disk that is full or may not be written. Raises `error` itself where it is
    neither."""
    if error.errno not in _OF_THE_DISK:
        raise error
    place = f"{error.filename}: " if error.filename else ""
    return InfrastructureError(f"{place}{error.strerror}. Give it room and the right to write there, then try again.")


_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a table of names and values",
    "model": "an object with keys",
}


def in_words(wrong: Mapping[str, Any]) -> str:
    """Return as text what pydantic found wrong with a value, for somebody who has never heard of pydantic."""
    kind, told = str(wrong["type"]), dict(wrong.get("ctx") or {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is no key that there is"
    if kind == "json_invalid":
        return f"is not valid JSON: {told.get('error', '')}"
    if kind == "literal_error":
        return f"must be {told['expected']}"
    if kind == "finite_number":
        return "must be a finite number"
    if kind in ("too_short", "too_long"):
        least, bound = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        return f"must have at {least} {told[bound]} of them, not {told['actual_length']}"
    if bounds := [f"{words} {told[key]}" for key, words in _BOUNDS.items() if key in told]:
        return f"must be {bounds[0]}"
    if kind.startswith("int_from"):
        return "must be a whole number"
    name, _, rest = kind.partition("_")
    if name in _KINDS and rest in ("type", "parsing", "attributes_type"):
        return f"must be {_KINDS[name]}"
    return str(wrong["msg"]).removeprefix("Value error, ").replace("Input should", "must")


class Events:
    """A log of the failures of a part that were recovered from: each is logged, counted and passed to `tell`, such as a
    timeline. Any thread may note one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.tell: Callable[[str], None] = lambda what: None
        self._lock = threading.Lock()

    def note(self, what: str, words: str) -> None:
        with self._lock:
            self.counts[what] += 1
        log.warning("%s", words)
        self.tell(what)
