"""The learner's state on disk, complete or absent: what a killed stage continues from."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from reforge.digests import sha256
from reforge.errors import InfrastructureError
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone

_MARK = "step.json"  # written last: a folder without it is the rest of an interrupted save


def save(learner: Learner, folder: Path, step: int) -> None:
    """Add the checkpoint of `step` to `folder`, and drop all but the newest `learner.checkpoints`."""
    new = folder / f"{step:06d}"
    shutil.rmtree(new, ignore_errors=True)
    everyone(Learner.save_state, learner, new)
    files = {path.name: sha256(path) for path in sorted(new.iterdir())}
    partial = new / f"{_MARK}.partial"
    partial.write_text(json.dumps({"step": step, "sha256": files}))
    partial.replace(new / _MARK)
    for old in _complete(folder)[: -learner.config.checkpoints]:
        shutil.rmtree(old)


def resume(learner: Learner, folder: Path) -> int:
    """Load the newest whole checkpoint into `learner`; its step, 0 where there is none. Any number of ranks and any
    ZeRO stage may have written it. Raises InfrastructureError where there are some and none is what was written.
    """
    found = _complete(folder)
    for checkpoint in reversed(found):
        mark = _read(checkpoint / _MARK)
        changed = [name for name, digest in mark["sha256"].items() if sha256(checkpoint / name) != digest]
        if not changed:
            everyone(Learner.load_state, learner, checkpoint)
            return int(mark["step"])
        logging.warning("%s is not what was written (%s): the one before it is tried", checkpoint, ", ".join(changed))
    if found:
        raise InfrastructureError(
            f"No checkpoint in {folder} is what was written: the disk has changed them. Remove that folder to start "
            "the stage anew."
        )
    return 0


def _read(mark: Path) -> dict[str, Any]:
    """An unreadable mark names itself as changed."""
    try:
        return dict(json.loads(mark.read_text()))
    except (ValueError, TypeError):
        return {"sha256": {_MARK: "unreadable"}}


def _complete(folder: Path) -> list[Path]:
    return sorted(mark.parent for mark in folder.glob(f"*/{_MARK}"))
