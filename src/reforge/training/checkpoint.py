"""The learner's state on disk, complete or absent: what a killed stage continues from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from reforge.policy.learner import Learner

_MARK = "step.json"  # written last: a folder without it is the rest of an interrupted save


def save(learner: Learner, folder: Path, step: int) -> None:
    """Replace the checkpoint in `folder` by that of `step`."""
    new = folder / f"{step:06d}"
    shutil.rmtree(new, ignore_errors=True)
    learner.save_state(new)
    (new / _MARK).write_text(json.dumps({"step": step}))
    for old in _complete(folder)[:-1]:
        shutil.rmtree(old)


def resume(learner: Learner, folder: Path) -> int:
    """Load the newest complete checkpoint into `learner`; its step, 0 where there is none."""
    found = _complete(folder)
    if not found:
        return 0
    learner.load_state(found[-1])
    return int(json.loads((found[-1] / _MARK).read_text())["step"])


def _complete(folder: Path) -> list[Path]:
    return sorted(mark.parent for mark in folder.glob(f"*/{_MARK}"))
