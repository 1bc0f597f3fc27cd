"""Log the metrics of a stage, step by step. The JSONL file is the truth; MLflow and W&B mirror it and may fail without
harm: what a mirror has missed it gets when it answers again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from reforge.files.jsonfile import number, spelled

log = logging.getLogger(__name__)

Metrics = dict[str, float]
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class RunInfo:
    """The facts about a stage's run that a mirror logs before the first step."""

    experiment: str
    pipeline: str
    stage: str
    params: dict[str, str]
    tags: dict[str, str]
    inputs: dict[str, str] = field(default_factory=dict)  # path → digest
    files: tuple[Path, ...] = ()  # files kept with the run as they are when it begins
    name: str = ""  # the experiment's name in conf/
    seed: int = 0
    values: dict[str, str] = field(default_factory=dict)  # the whole pipeline's config
    model: str = ""  # the folder of weights that the stage makes, if it makes one
    evaluated: dict[str, str] = field(default_factory=dict)  # model → the stage that makes it
    compared_at: str = ""  # the limit at which models are compared

    @property
    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"


class Mirror(Protocol):
    """A copy of the metrics elsewhere. `mark` is the last step that it has; the tracker sends only later ones."""

    mark: int

    def log(self, step: int, metrics: Metrics) -> None: ...
    def artifact(self, path: Path) -> None: ...
    def close(self, status: RunStatus, metrics: Metrics, tags: dict[str, str]) -> None: ...


class Tracker:
    """Writes one line of metrics per step. Steps rise; logging an earlier one again drops it and what came after. A
    value that is not finite is written as "nan", "inf" or "-inf".

    After a resume the recomputed steps are compared with what was logged before the interruption, and the outcome is
    kept (`recomputed_steps`): each real crash is a test that resuming changes nothing.
    """

    def __init__(self, scratch: Path, runs: Path, openers: Iterable[Callable[[], Mirror]] = ()) -> None:
        self.path = scratch / "metrics.jsonl"
        self._resumed = scratch / "resumed.jsonl"
        self._timings = runs / "timings.jsonl"
        self._sinks = [_Sink(opener) for opener in openers]
        self.artifacts: list[Path] = []
        self._before: dict[int, Metrics] = {}  # steps that a rewind dropped, to be compared
        scratch.mkdir(parents=True, exist_ok=True)
        runs.mkdir(parents=True, exist_ok=True)
        self._lines = read_lines(self.path)
        self._rewrite()  # without the torn last line that a kill may have left
        for sink in self._sinks:
            sink.attempt(lambda mirror: None)

    def log(self, step: int, metrics: Metrics, timings: Metrics | None = None) -> None:
        if self._lines and step <= max(self._lines):
            self.rewind(step - 1)
        line = {key: float(value) for key, value in metrics.items()}
        self._lines[step] = line
        _append(self.path, {"step": step, **_spelled(line)})
        if timings is not None:
            _append(self._timings, {"step": step, "at": time.time(), **_spelled(timings)})
        if step in self._before:
            before, now = _spelled(self._before.pop(step)), _spelled(line)  # NaN is like NaN
            keys = before.keys() | now.keys()
            self.recomputed(step, sorted(key for key in keys if before.get(key) != now.get(key)))
        for sink in self._sinks:
            sink.catch_up(self._lines)

    def recomputed(self, step: int, differing: list[str]) -> None:
        """Record that `step` was computed again after an interruption, and what of it differed."""
        _append(self._resumed, {"step": step, "differing": differing})

    def recomputed_steps(self) -> list[dict[str, Any]]:
        """Return all that `recomputed` has recorded since the stage began, in this process and in those before it."""
        return list(_whole(self._resumed))

    def rewind(self, step: int) -> None:
        """Forget the steps after `step`, the one of the checkpoint that a run resumes from."""
        dropped = {at: metrics for at, metrics in self._lines.items() if at > step}
        if dropped:
            self._before |= dropped
            self._lines = {at: metrics for at, metrics in self._lines.items() if at <= step}
            self._rewrite()

    def last(self) -> Metrics:
        """Return the metrics of the newest step, whichever process made it; empty where there is none."""
        return dict(self._lines[max(self._lines)]) if self._lines else {}

    def series(self, name: str) -> dict[int, float]:
        """Return the values of a metric by step, in order; steps without it have none."""
        return {step: metrics[name] for step, metrics in sorted(self._lines.items()) if name in metrics}

    def artifact(self, path: Path) -> None:
        self.artifacts.append(path)
        for sink in self._sinks:
            sink.catch_up(self._lines, self.artifacts)

    def close(
        self, status: RunStatus, metrics: Metrics | None = None, tags: dict[str, str] | None = None
    ) -> list[bool]:
        """Close the mirrors, and return for each, in the openers' order, whether it has received all. `metrics` are the
        stage's headline numbers, `tags` what is known only at the end."""
        for sink in self._sinks:
            sink.close(self._lines, self.artifacts, lambda mirror: mirror.close(status, metrics or {}, tags or {}))
        return [not sink.failing for sink in self._sinks]

    def _rewrite(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w") as file:
            for step, metrics in self._lines.items():
                file.write(json.dumps({"step": step, **_spelled(metrics)}, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


class _Sink:
    """A mirror that is opened again after it has failed: at the next call, then at the second, the fourth, the eighth…,
    so that one which is gone for good costs next to nothing. The run matters more than any account of it."""

    def __init__(self, opener: Callable[[], Mirror]) -> None:
        self._opener = opener
        self._mirror: Mirror | None = None
        self._sent = -1  # the last step that was sent
        self._artifacts = 0
        self._failures = self._rest = 0

    @property
    def failing(self) -> bool:
        return self._failures > 0

    def catch_up(self, lines: Mapping[int, Metrics], artifacts: Sequence[Path] = ()) -> None:
        """Send what the mirror lacks: the newest step, or also those before it after a crash or an absence."""
        self.attempt(lambda mirror: self._send(mirror, lines, artifacts))

    def close(self, lines: Mapping[int, Metrics], artifacts: Sequence[Path], last: Callable[[Mirror], None]) -> None:
        """Send what the mirror lacks and close it, in one last attempt: a run that lacks a step is not closed."""

        def send(mirror: Mirror) -> None:
            self._send(mirror, lines, artifacts)
            last(mirror)

        self._rest = 0
        self.attempt(send)

    def _send(self, mirror: Mirror, lines: Mapping[int, Metrics], artifacts: Sequence[Path]) -> None:
        for step, metrics in lines.items():
            if step > max(self._sent, mirror.mark):
                mirror.log(step, metrics)
                self._sent = step
        for path in artifacts[self._artifacts :]:
            mirror.artifact(path)
            self._artifacts += 1

    def attempt(self, call: Callable[[Mirror], None]) -> None:
        if self._rest > 0:
            self._rest -= 1
            return
        try:
            if self._mirror is None:
                self._mirror, self._sent, self._artifacts = self._opener(), -1, 0
            call(self._mirror)
            self._failures = 0
        except Exception as error:
            if not self._failures:
                _warn(error)
            self._mirror, self._failures = None, self._failures + 1
            self._rest = 2 ** (self._failures - 1) - 1


def _spelled(metrics: Mapping[str, float]) -> dict[str, float | str]:
    return {key: spelled(value) for key, value in metrics.items()}


def _append(path: Path, line: dict[str, object]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> dict[int, Metrics]:
    """Return the metrics of each step. Values that are not finite, written as text, are numbers again."""
    return {line.pop("step"): {key: number(value) for key, value in line.items()} for line in _whole(path)}


def _whole(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines up to one that a kill, or a full disk, has torn."""
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            return
        if not isinstance(line, dict) or "step" not in line:
            return
        yield line


def _warn(error: Exception) -> None:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    log.warning(
        "A mirror of the metrics failed (%s). Training goes on, and it gets what it misses once it answers.", reason
    )
