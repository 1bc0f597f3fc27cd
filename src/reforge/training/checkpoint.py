"""The learner's state on disk, complete or absent: what a killed stage continues from."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reforge.errors import InfrastructureError
from reforge.files.digests import sha256
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone

_POLICIES = "policies"
_MARK = "step.json"  # written last: a folder without it is the rest of an interrupted save


def save(learner: Learner, folder: Path, step: int, policies: Sequence[Path] = ()) -> None:
    """Add the checkpoint of `step` to `folder`, with copies of the folders `policies`, and drop all but the newest
    `learner.checkpoints`."""
    new = folder / f"{step:06d}"
    shutil.rmtree(new, ignore_errors=True)
    everyone(Learner.save_state, learner, new)
    for policy in policies:
        shutil.copytree(policy, new / _POLICIES / policy.name)
    files = {str(path.relative_to(new)): sha256(path) for path in sorted(new.rglob("*")) if path.is_file()}
    partial = new / f"{_MARK}.partial"
    with partial.open("w") as file:
        json.dump({"step": step, "sha256": files}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(new / _MARK)
    for old in _complete(folder)[: -learner.config.checkpoints]:
        shutil.rmtree(old)


def resume(learner: Learner, folder: Path) -> int:
    """Load the newest whole checkpoint into `learner` and return its step, 0 where there is none. Any number of ranks
    and any ZeRO stage may have written it. Raises InfrastructureError where there are some and none is what was
    written."""
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


def restore_policies(folder: Path, step: int, target: Path) -> None:
    """Put the policies that were saved with the checkpoint of `step` in place of what `target` holds."""
    shutil.rmtree(target, ignore_errors=True)
    saved = folder / f"{step:06d}" / _POLICIES
    if saved.is_dir():
        shutil.copytree(saved, target)


def _read(mark: Path) -> dict[str, Any]:
    """Return what a mark says; an unreadable one names itself as changed."""
    try:
        return dict(json.loads(mark.read_text()))
    except (ValueError, TypeError):
        return {"sha256": {_MARK: "unreadable"}}


def _complete(folder: Path) -> list[Path]:
    return sorted(mark.parent for mark in folder.glob(f"*/{_MARK}"))
