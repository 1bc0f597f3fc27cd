"""Models in MLflow's registry: a version for each run that made one, an alias for each stage, `champion` for the best.

A version is a reference: its files say where DVC keeps the weights, which lie there once.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reforge.tracking import mlflow_files
from reforge.tracking.tracker import RunInfo

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"


def registered_name(info: RunInfo) -> str:
    """Return the name without / and :, which MLflow allows in no name."""
    return re.sub(r"[^\w.-]+", "-", f"{info.experiment}-{info.name}")


def register(client: MlflowClient, experiment: str, run_id: str, info: RunInfo, tags: Mapping[str, str]) -> None:
    """Register a version for what the run has made, unless there is one, and point the stage's alias at it."""
    version = _version(client, info, f"run_id = '{run_id}'")
    if version is None:
        model_id = _log_model(client, experiment, run_id, info, tags)
        name = registered_name(info)
        _ensure_registered(client, name)
        kept = {"reforge.stage": info.stage, "reforge.path": info.model, "reforge.out": tags["reforge.out"]}
        words = f"{info.stage} of {info.title}. Weights: {info.model}, in DVC's cache as {tags['reforge.out']}."
        made = client.create_model_version(name, f"models:/{model_id}", run_id, kept, description=words)
        version = made.version
    client.set_registered_model_alias(registered_name(info), _alias(info.stage), version)


def point_at(client: MlflowClient, info: RunInfo, run_id: str, alias: str = "") -> None:
    """Point `alias` (empty: the stage's alias) at the version that this run has made, if there is one."""
    version = _version(client, info, f"run_id = '{run_id}'")
    if version is not None:
        client.set_registered_model_alias(registered_name(info), alias or _alias(info.stage), version)


def _version(client: MlflowClient, info: RunInfo, where: str) -> str | None:
    found = client.search_model_versions(f"name = '{registered_name(info)}' AND {where}")
    return str(max(found, key=lambda version: int(version.version)).version) if found else None


def _ensure_registered(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log_model(client: MlflowClient, experiment: str, run_id: str, info: RunInfo, tags: Mapping[str, str]) -> str:
    """Log a model of the run whose weights MLflow does not keep, with what leads to them, and return the model's id."""
    from mlflow.entities import LoggedModelOutput

    known = {"mlflow.model.isExternal": "true", "reforge.path": info.model, "reforge.out": tags["reforge.out"]}
    params = {key: value[:500] for key, value in sorted(info.params.items())[:100]}
    name = f"{info.name}-{_alias(info.stage)}"
    model: Any = client.create_logged_model(experiment, name, run_id, known, params, "policy")
    with tempfile.TemporaryDirectory() as folder:
        for file, text in _files(model, run_id, info, tags).items():
            (Path(folder) / file).write_text(text)
        mlflow_files.put_model_files(client, model.model_id, Path(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return str(model.model_id)


def _files(model: Any, run_id: str, info: RunInfo, tags: Mapping[str, str]) -> dict[str, str]:
    spec = {
        "artifact_path": model.artifact_location,
        "flavors": {},
        "metadata": {"mlflow.model.isExternal": True},
        "model_id": model.model_id,
        "model_uuid": model.model_id,
        "run_id": run_id,
    }
    sha = info.tags.get("reforge.git_sha", "")
    place = {"path": info.model, "of": tags.get("reforge.out_path", ""), "dvc_md5": tags["reforge.out"], "git_sha": sha}
    words = (
        f"# {info.stage} of {info.title}\n\nThe weights are in `{info.model}` of the project, not here: DVC keeps them "
        f"(`{tags['reforge.out']}`). Where dvc.lock has moved on since, take dvc.lock from this model's run and bring "
        "them back, in the project's folder and environment, with "
        f"`dvc checkout {tags.get('reforge.out_path', info.model)}`.\n"
    )
    return {"MLmodel": json.dumps(spec, indent=1), "weights.json": json.dumps(place, indent=1), "README.md": words}


def _alias(stage: str) -> str:
    return re.sub(r"[^\w-]+", "-", stage)
