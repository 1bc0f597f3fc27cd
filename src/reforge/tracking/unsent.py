"""What MLflow has not heard of a finished stage, because it was away to the end: kept in a folder until it answers."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reforge.tracking.mlflow_mirror import MlflowMirror
from reforge.tracking.tracker import Metrics, RunInfo, read_lines

_LAST = "closing.json"  # written last: a folder without it is the rest of an interrupted save


def keep(
    folder: Path, info: RunInfo, lines: Path, state: Path, artifacts: list[str], metrics: Metrics, tags: dict[str, str]
) -> None:
    """`lines` and `state` are those of the tracker and of the mirror; `artifacts` where they lie by now."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (lines, state):
        if path.is_file():
            shutil.copy(path, folder)
    known = {**asdict(info), "files": [str(path) for path in info.files]}
    closing = {"info": known, "artifacts": artifacts, "metrics": metrics, "tags": tags}
    (folder / _LAST).write_text(json.dumps(closing))


def send(folder: Path, uri: str) -> None:
    """Make up for it, and remove `folder`. Raises whatever the mirror does."""
    if (folder / _LAST).is_file():
        closing: dict[str, Any] = json.loads((folder / _LAST).read_text())
        info = RunInfo(**{**closing["info"], "files": tuple(map(Path, closing["info"]["files"]))})
        mirror = MlflowMirror(uri, info, folder / "mlflow.json")
        for step, metrics in read_lines(folder / "metrics.jsonl").items():
            if step > mirror.mark:
                mirror.log(step, metrics)
        for path in filter(Path.exists, map(Path, closing["artifacts"])):
            mirror.artifact(path)
        mirror.close("FINISHED", closing["metrics"], closing["tags"])
    shutil.rmtree(folder, ignore_errors=True)
