"""What holds for every process of Reforge: no usage reporting, nothing asks the internet, one folder is the root."""

from __future__ import annotations

import os
from pathlib import Path

from reforge.errors import UserError

_QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # one for each file written; the bars of the stages are the ones to read
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",  # no code in checkpoints, whoever loads them (DeepSpeed asks for pickles)
    "VLLM_NO_USAGE_STATS": "1",
    "WANDB_MODE": "offline",
}


def quiet() -> None:
    """Call before importing any of the tools. A value that the user has set stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def project_root() -> Path:
    """The nearest folder, from here upwards, that holds `dvc.yaml`."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"No dvc.yaml in {here} or above it. Run reforge inside a clone of its repository.")
