"""A cache of verdicts, in memory and, with a path, in a file of JSON lines that outlives the process."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reforge.records import Problem, Status, Verdict
from reforge.sandbox.limits import Limits

# The fields of a problem that no verdict depends on.
_ASIDE = frozenset(
    ("id", "statement", "solution", "thinking", "difficulty", "family", "alternatives", "date", "several_answers")
)


@dataclass(frozen=True)
class Configuration:
    """Everything about a judge that a verdict depends on. `packages`: name, version and digest of each; `code`: a
    digest."""

    limits: Limits
    layers: tuple[str, ...]
    interpreter: str
    packages: tuple[str, ...]
    code: str

    @functools.cached_property
    def digest(self) -> str:
        return _digest(dataclasses.asdict(self))


def verdict_key(program: str, problem: Problem, configuration: Configuration) -> str:
    """Return a digest of all that a verdict depends on: every field of the arguments, except those that only describe
    the problem."""
    return _digest([program, _asked(problem), configuration.digest])


@functools.lru_cache(64)  # many programs of a problem come one after the other
def _asked(problem: Problem) -> str:
    return _digest({name: value for name, value in dataclasses.asdict(problem).items() if name not in _ASIDE})


def _digest(of: object) -> str:
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()


@functools.cache
def code_digest() -> str:
    """Return a digest of this package's code: after a change to a checker old verdicts must not come back."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


class VerdictCache:
    """The verdicts already known. It is not thread-safe by itself. Infrastructure failures are never kept."""

    def __init__(self, path: Path | None) -> None:
        self._known: dict[str, Verdict] = {}
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", errors="replace")
            self._read()

    def get(self, key: str) -> Verdict | None:
        return self._known.get(key)

    def put(self, verdict: Verdict) -> None:
        if verdict.status is Status.INFRASTRUCTURE:
            return
        self._known[verdict.key] = verdict
        if self._file is not None:
            with suppress(OSError):  # a full disk: the verdict is good all the same, and can be had again
                self._file.write(json.dumps(dataclasses.asdict(verdict)) + "\n")
                self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _read(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        for line in self._file:
            with suppress(ValueError, TypeError, KeyError):  # a line that a crash has torn
                values = json.loads(line)
                self._known[values["key"]] = Verdict(**{**values, "status": Status(values["status"])})
        self._file.write("\n")  # whatever was torn must not swallow the next line
