"""The parent run of a pipeline: the numbers that compare it with other pipelines, gathered from its stages' runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reforge.tracking.mlflow_models import CHAMPION, point_at
from reforge.tracking.tracker import Metrics, RunInfo

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"
FINAL = "final/"
_OF_TRAINING = ("reward/mean", "truncated", "length/mean", "loss")  # metrics whose value at the last step is shown


def newest_runs(client: MlflowClient, experiment: str, parent: str) -> dict[str, Any]:
    """Return the newest run of each stage of the pipeline, the earliest stage first."""
    order = ["attributes.start_time ASC"]
    found = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent}'", max_results=1000, order_by=order)
    return {run.data.tags["reforge.stage"]: run for run in found}


def summarise(client: MlflowClient, experiment: str, parent: str, info: RunInfo) -> None:
    """Bring the parent up to date with its stages: scores, what became of the problems, minutes, level; the best model
    is the champion."""
    from mlflow.entities import Metric, RunTag

    runs = newest_runs(client, experiment, parent)
    known, now = client.get_run(parent).data, int(time.time() * 1000)
    wanted = {key: value for stage, run in runs.items() for key, value in _headline(stage, run)}
    wanted |= _minutes(runs)
    metrics = [Metric(key, value, now, 0) for key, value in wanted.items() if known.metrics.get(key) != value]
    levels = sorted(run.data.tags["reforge.level"] for run in runs.values() if "reforge.level" in run.data.tags)
    tags = [RunTag("reforge.level", levels[0])] if levels else []  # R0 before R1: no better than its weakest stage
    client.log_batch(parent, metrics=metrics[:1000], tags=tags)
    _crown(client, info, runs, wanted)


def _headline(stage: str, run: Any) -> Iterator[tuple[str, float]]:
    kind, _, key = stage.partition("@")
    for name, value in run.data.metrics.items():
        short = name.removeprefix(FINAL)
        if kind == "curate" and name.startswith(FINAL):
            yield f"{key}/{short}", value
        elif kind == "evaluate" and name.startswith(FINAL):
            measure, _, limit = short.partition("/")
            yield f"{measure}/{key}/{limit}", value
        elif kind == "report" and re.match(r"gain\b", short):
            yield short if "/" in short else f"{short}/value", value
        elif kind in ("sft", "rl") and short in _OF_TRAINING:
            yield f"{stage.replace('@', '-')}/{short}", value


def _minutes(runs: dict[str, Any]) -> Metrics:
    """Return the minutes that each stage took that ran, and their sum."""
    found = {
        f"wall_minutes/{stage.replace('@', '-')}": round((run.info.end_time - run.info.start_time) / 60_000, 2)
        for stage, run in runs.items()
        if run.info.end_time and run.data.tags.get("reforge.status") == "ran"
    }
    return {**found, "wall_minutes/all": round(sum(found.values()), 2)} if found else {}


def _crown(client: MlflowClient, info: RunInfo, runs: dict[str, Any], wanted: Metrics) -> None:
    """Give the champion's alias to the model with the best pass@1 at the limit that the report compares at, once all
    evaluated models have a score."""
    scored = {
        stage: wanted[f"pass_at_1/{model}/{info.compared_at}"]
        for model, stage in info.evaluated.items()
        if f"pass_at_1/{model}/{info.compared_at}" in wanted and stage in runs
    }
    if scored and len(scored) == len(info.evaluated):
        tags = runs[max(scored, key=lambda stage: scored[stage])]
        made = tags.data.tags.get("reforge.produced_by", tags.info.run_id)
        point_at(client, info, made, CHAMPION)
