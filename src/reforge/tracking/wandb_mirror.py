"""W&B, offline by default, as a second sink.

W&B cannot continue an offline run: after an interruption a second run directory holds all steps again (`mark` starts
at −1, so the tracker sends them all). Upload it with `wandb sync .runs/wandb/offline-run-*`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reforge.tracking.tracker import Metrics, RunInfo, RunStatus


class WandbMirror:
    mark = -1

    def __init__(self, folder: Path, info: RunInfo) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # W&B's service logs below the home folder, or, where that is read-only, to the terminal.
        os.environ.setdefault("WANDB_CACHE_DIR", str(folder))
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self._run = wandb.init(
            project=info.experiment,
            group=info.pipeline[:12],
            name=info.stage,
            dir=str(folder),
            config={**info.params, "tags": info.tags, "inputs": info.inputs},
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )

    def log(self, step: int, metrics: Metrics) -> None:
        self._run.log(dict(metrics), step=step, commit=True)

    def artifact(self, path: Path) -> None:
        """Save a copy: W&B would link to the file, and the next run of the stage changes it."""
        copy = shutil.copy(path, self._run.dir)
        self._run.save(copy, base_path=self._run.dir, policy="now")

    def close(self, status: RunStatus, metrics: Metrics, tags: dict[str, str]) -> None:
        self._run.summary.update({**metrics, **tags})
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)
