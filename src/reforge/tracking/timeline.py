"""A log of who did what when, as Chrome trace events: open the file in https://ui.perfetto.dev.

A span is written when it ends, a line each, so a killed run leaves all that was finished; the format allows the closing
bracket to be missing, and a resumed stage goes on in the same file.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock


@dataclass(frozen=True)
class Span:
    """The work of a lane from `start` to `end`, in seconds of the clock; a moment has no length."""

    lane: str
    name: str
    start: float
    end: float
    step: int

    @property
    def is_moment(self) -> bool:
        return self.start == self.end


def steady_clock() -> Callable[[], float]:
    """Return a clock: seconds since 1970, read once from the machine's clock and then counted on steadily, whatever
    that clock is set to."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class Timeline:
    """Spans on lanes: one lane for each thing that works on its own. Any thread may add to it."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path, self._clock, self._lock = path, clock, Lock()
        self.spans: list[Span] = []
        self._named: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.is_file() else ""
        kept = text[: text.rfind(",\n") + 2] if ",\n" in text else "[\n"  # without the torn last line of a kill
        path.write_text(kept)

    @contextmanager
    def span(self, lane: str, name: str, step: int = 0) -> Iterator[None]:
        start = self._clock()
        try:
            yield
        finally:
            self._add(Span(lane, name, start, self._clock(), step))

    def moment(self, lane: str, name: str) -> None:
        now = self._clock()
        self._add(Span(lane, name, now, now, 0))

    def _add(self, span: Span) -> None:
        with self._lock:
            self.spans.append(span)
            events: list[dict[str, object]] = []
            where = {"pid": 0, "tid": zlib.crc32(span.lane.encode()) >> 8}  # the same number again in a resumed stage
            if span.lane not in self._named:
                self._named.add(span.lane)
                events.append({"ph": "M", "name": "thread_name", **where, "args": {"name": span.lane}})
            events.append(
                {
                    "ph": "X",
                    "name": span.name,
                    **where,
                    "ts": round(span.start * 1e6),
                    "dur": round((span.end - span.start) * 1e6),
                    "args": {"step": span.step},
                }
            )
            with self.path.open("a") as file:
                file.write("".join(json.dumps(event) + ",\n" for event in events))
