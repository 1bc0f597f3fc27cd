"""The files of MLflow's runs. With a database on this disk they lie beside it in mlartifacts/, and the database names
them without that folder's path: database and folder may be moved together. `reforge ui` serves them from there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "mlartifacts"
_SCHEME = "mlflow-artifacts:/"


def location(uri: str, experiment: str) -> str | None:
    """Return where a new experiment's files lie; None where a server decides it."""
    return _SCHEME + re.sub(r"[^\w.-]+", "-", experiment) if uri.startswith("sqlite:") else None


def put(client: MlflowClient, run_id: str, path: Path) -> None:
    """Add a file, or a folder under its name, to the run's files."""
    place = _place(client, client.get_run(run_id).info.artifact_uri)
    if place is not None:
        copy(path, place / path.name)
    elif path.is_dir():
        client.log_artifacts(run_id, str(path), path.name)
    else:
        client.log_artifact(run_id, str(path))


def text_of(client: MlflowClient, run_id: str, name: str) -> str | None:
    """Return the file's text; None where the run has no such file."""
    place = _place(client, client.get_run(run_id).info.artifact_uri)
    if place is not None:
        return (place / name).read_text() if (place / name).is_file() else None
    if name not in {file.path for file in client.list_artifacts(run_id)}:
        return None
    return Path(client.download_artifacts(run_id, name)).read_text()


def put_model_files(client: MlflowClient, model_id: str, folder: Path) -> None:
    """Add all files of `folder` to those of a logged model."""
    place = _place(client, client.get_logged_model(model_id).artifact_location)
    if place is not None:
        copy(folder, place)
    else:
        client.log_model_artifacts(model_id, str(folder))


def copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copy(path, target)


def _place(client: MlflowClient, artifact_uri: str) -> Path | None:
    """Return where on this disk the files lie; None where only MLflow's client can reach them."""
    uri = client.tracking_uri
    if not uri.startswith("sqlite:") or not artifact_uri.startswith(_SCHEME):
        return None
    return Path(uri.partition(":///")[2]).parent / FOLDER / artifact_uri.removeprefix(_SCHEME).lstrip("/")
