"""Keep what MLflow has not received of finished stages, because it was away to the end, in folders until it answers."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from reforge.tracking import mlflow_files
from reforge.tracking.mlflow_mirror import MlflowMirror
from reforge.tracking.tracker import Metrics, RunInfo, read_lines


def keep(
    place: Path,
    info: RunInfo,
    lines: Path,
    state: Path,
    artifacts: dict[str, Path],
    metrics: Metrics,
    tags: dict[str, str],
) -> None:
    """Make a new folder in `place` with all that is to be sent: copies of the files, as they will have changed by then.
    `lines` and `state` are the files of the tracker and of the mirror; `artifacts` maps names to files."""
    with _alone(place):
        number = 1 + max((int(folder.name) for folder in place.glob("[0-9]*")), default=0)
        partial = place / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for path in (lines, state):
            if path.is_file():
                mlflow_files.copy(path, partial / path.name)
        for path in filter(Path.is_file, info.files):
            mlflow_files.copy(path, partial / "files" / path.name)
        for name, path in artifacts.items():
            mlflow_files.copy(path, partial / "artifacts" / name)
        closing = {"info": {**asdict(info), "files": []}, "metrics": metrics, "tags": tags}
        (partial / "closing.json").write_text(json.dumps(closing))
        partial.rename(place / f"{number:06d}")


def send_all(place: Path, uri: str) -> list[Exception]:
    """Send what was kept, run after run, and return the errors of those runs that stay."""
    failures: list[Exception] = []
    if place.is_dir():
        with _alone(place):
            for folder in sorted(place.glob("[0-9]*")):
                try:
                    _send(folder, uri)
                except Exception as error:  # whatever the mirror raises: the next one may do
                    failures.append(error)
                else:
                    shutil.rmtree(folder)
    return failures


def _send(folder: Path, uri: str) -> None:
    closing: dict[str, Any] = json.loads((folder / "closing.json").read_text())
    info = replace(RunInfo(**closing["info"]), files=tuple(sorted((folder / "files").glob("*"))))
    mirror = MlflowMirror(uri, info, folder / "mlflow.json")
    for step, metrics in read_lines(folder / "metrics.jsonl").items():
        if step > mirror.mark:
            mirror.log(step, metrics)
    for path in sorted((folder / "artifacts").glob("*")):
        mirror.artifact(path)
    mirror.close("FINISHED", closing["metrics"], closing["tags"])


def _alone(place: Path) -> FileLock:
    """Return a lock on `place`: stages run side by side, and each sends what it finds."""
    place.mkdir(parents=True, exist_ok=True)
    return FileLock(place / "lock", timeout=300)
