"""Settings of every process of Reforge: no usage reporting, no requests to the internet, one folder as the root."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from pathlib import Path

from reforge.errors import UserError

_QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # a bar for each file written; the bars of the stages are the ones to read
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",  # no code in checkpoints, whoever loads them (DeepSpeed asks for pickles)
    "VLLM_NO_USAGE_STATS": "1",
    "WANDB_MODE": "offline",
}


_SHELL_PATH, _SHELL_FOLDER = "REFORGE_SHELL_PATH", "REFORGE_SHELL_FOLDER"


def quiet() -> None:
    """Keep the tools quiet and offline; call this before importing any of them. A value that the user has set stays.
    From then on the programs of this environment are found by their names, also where nobody has activated it."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its notice that it lists the fonts is of no use
    logging.getLogger("DeepSpeed").addFilter(lambda record: "accelerator" not in record.getMessage())  # a CPU will do
    path, bin = os.environ.get("PATH", os.defpath), str(_bin())
    os.environ.setdefault(_SHELL_PATH, path)
    os.environ.setdefault(_SHELL_FOLDER, os.getcwd())
    if path.split(os.pathsep)[0] != bin:
        os.environ["PATH"] = f"{bin}{os.pathsep}{path}"


def command(words: str) -> str:
    """Return what to type for `words` (`reforge gc --yes`, `dvc repro sft`) in the shell that started this, or whose
    make or DVC did: with this environment, which that shell may not have activated, and in the folder that it needs."""
    tool, (folder, root) = words.split(maxsplit=1)[0], _shell_folder()
    if tool == "make":
        return words if root == folder else f"make -C {_from(folder, root)}{words.removeprefix('make')}"
    found = shutil.which(tool, path=os.environ.get(_SHELL_PATH, os.environ.get("PATH", os.defpath)))
    known = found is not None and Path(found).parent.resolve() == _bin().resolve()
    if tool == "reforge":  # reforge finds the folder itself
        return words if known else f"{_from(folder, _bin() / tool)}{words.removeprefix(tool)}"
    # DVC runs `reforge`, Prefect runs `python`: they need the environment, not only to be found themselves
    steps = [] if root == folder else [f"cd {_from(folder, root)}"]
    steps += [] if known else [f". {_from(root, _bin() / 'activate')}"]
    return " && ".join([*steps, words])


def _shell_folder() -> tuple[Path, Path]:
    """Return the folder that the shell is in, and the project's root. Where the variable names a folder in a different
    project, the first is the current folder."""
    here = Path.cwd()
    shell = Path(os.environ.get(_SHELL_FOLDER, here))
    try:
        root = project_root()
        return (shell if project_root(shell) == root else here), root
    except UserError:
        return here, here


def _bin() -> Path:
    """Return the folder of this interpreter's environment. Not resolved: the link in it is what knows the
    environment."""
    return Path(sys.executable).parent


def _from(folder: Path, path: Path) -> str:
    relative = os.path.relpath(path, folder)
    return shlex.quote(relative if len(relative) < len(str(path)) else str(path))


def project_root(start: Path | None = None) -> Path:
    """Return the nearest folder, from here (or `start`) upwards, that holds `dvc.yaml`. Raises UserError where none
    does."""
    here = start or Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"No dvc.yaml in {here} or above it. Run reforge inside a clone of its repository.")
