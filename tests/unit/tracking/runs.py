"""Stages that are tracked, and what MLflow then holds, for the tests of the mirrors."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from reforge.tracking.mlflow_mirror import MlflowMirror
from reforge.tracking.tracker import RunInfo, Tracker

LEARNING = {"rl.short.learning_rate": "0.0003"}


def info(stage: str = "sft@cold", **tags: str) -> RunInfo:
    tags = {"reforge.git_sha": "abc", **{key.replace("_", ".", 1): value for key, value in tags.items()}}
    return RunInfo(
        "reforge", "p1", stage, LEARNING, tags, {"outputs/base/policy/model": "d1.dir"}, (Path("params.yaml"),)
    )


def children(client: MlflowClient) -> dict[str, object]:
    experiment = client.get_experiment_by_name("reforge").experiment_id
    return {run.data.tags["reforge.stage"]: run for run in client.search_runs([experiment])}


def tracked(folder: Path, uri: str = "sqlite:///mlflow.db") -> Tracker:
    return Tracker(folder / "s", folder / "r", [lambda: MlflowMirror(uri, info(), folder / "mlflow.json")])


def files_of(run: Run) -> Path:
    """Beside the database, which names them without that folder."""
    return Path("mlartifacts", run.info.artifact_uri.removeprefix("mlflow-artifacts:/"))


def history(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run_id, key)]


def children_at(folder: Path) -> list[object]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return list(client.search_runs([client.get_experiment_by_name("reforge").experiment_id]))
