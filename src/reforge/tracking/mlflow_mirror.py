"""MLflow: one parent run per pipeline (values + code), one child per stage, also for a stage that DVC skipped."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from reforge.errors import UserError
from reforge.machine.project import command
from reforge.tracking import mlflow_files
from reforge.tracking.mlflow_models import point_at, register
from reforge.tracking.mlflow_overview import FINAL, PARENT, newest_runs, summarise
from reforge.tracking.tracker import Metrics, RunInfo, RunStatus

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK = Path(".runs/mlflow.lock")
_KIND = "mlflow.experimentKind"


class MlflowMirror:
    """A stage's run in MLflow. `state` keeps the run id beside the checkpoint, so that a resumed stage goes on in the
    same run."""

    def __init__(self, uri: str, info: RunInfo, state: Path) -> None:
        with connected(uri, info.experiment) as (client, experiment):
            self._client, self._experiment, self._info, self._uri = client, experiment, info, uri
            self._parent = _parent(client, experiment, info)
            self.run_id = _resume(client, state)
            if not self.run_id:
                self.run_id = _child(client, experiment, self._parent, info, "ran")
                state.write_text(json.dumps({"run_id": self.run_id}))
        # MLflow is asked what it has, nothing is remembered here: a step logged twice would stay twice (mlflow#4248).
        said = self._said()
        self.mark = max((point.step for points in said.values() for point in points), default=-1)
        self._varies = {key: len({point.value for point in points}) > 1 for key, points in said.items()}
        self._first = {key: (points[0].step, points[0].value) for key, points in said.items()}

    def log(self, step: int, metrics: Metrics) -> None:
        """Log a step, without the metrics that have not changed since their first step: MLflow would draw a chart of
        each."""
        sent: list[Any] = []
        for key, value in metrics.items():
            began, before = self._first.setdefault(key, (step, value))
            if began < step and not self._varies.get(key, False):
                if value == before:
                    continue
                self._varies[key] = True
                if began < step - 1:
                    sent += _entities({key: before}, step - 1)  # the last point before the line leaves its level
            sent += _entities({key: value}, step)
        self._client.log_batch(self.run_id, metrics=sent)

    def artifact(self, path: Path) -> None:
        mlflow_files.put(self._client, self.run_id, path)

    def close(self, status: RunStatus, metrics: Metrics, tags: dict[str, str]) -> None:
        """Close the run. Numbers that the steps have logged already are not logged again."""
        final = {f"{FINAL}{key}": value for key, value in metrics.items() if key not in self._first}
        _finish(self._client, self.run_id, status, final, tags)
        with connected(self._uri, self._info.experiment):
            if self._info.model and "reforge.out" in tags:
                register(self._client, self._experiment, self.run_id, self._info, tags)
            summarise(self._client, self._experiment, self._parent, self._info)

    def _said(self) -> dict[str, list[Any]]:
        """Return each metric's points so far."""
        keys = [key for key in self._client.get_run(self.run_id).data.metrics if not key.startswith(FINAL)]
        return {key: self._client.get_metric_history(self.run_id, key) for key in keys}


def add_cached(uri: str, infos: list[tuple[RunInfo, Metrics]]) -> None:
    """Give each stage that has no child in its pipeline a child tagged `cached`, pointing at the run that made its
    output.

    `reforge.out` must be among the tags: the producing run is found by it.
    """
    for info, metrics in infos:
        with connected(uri, info.experiment) as (client, experiment):
            parent = _parent(client, experiment, info)
            if info.stage in newest_runs(client, experiment, parent):
                continue
            made = f"tags.`reforge.out` = '{info.tags['reforge.out']}' AND tags.`reforge.status` = 'ran'"
            producers = client.search_runs([experiment], made, max_results=1, order_by=["attributes.start_time DESC"])
            child = _child(client, experiment, parent, info, "cached")
            tags = {"reforge.produced_by": producers[0].info.run_id if producers else "unknown"}
            if producers and "reforge.level" in producers[0].data.tags:
                tags["reforge.level"] = producers[0].data.tags["reforge.level"]
            _finish(client, child, "FINISHED", {f"{FINAL}{key}": value for key, value in metrics.items()}, tags)
            if producers and info.model:
                point_at(client, info, producers[0].info.run_id)
            summarise(client, experiment, parent, info)


def finish_pipeline(uri: str, info: RunInfo, status: RunStatus) -> None:
    """Close the parent run, with the tags that are final only now."""
    with connected(uri, info.experiment) as (client, experiment):
        _finish(client, _parent(client, experiment, info), status, {}, info.tags)


def reports(uri: str) -> list[str]:
    """Return, for each report in any experiment that nobody has deleted, dvc.lock as it was before the report, followed
    by the digests of the report itself. Raises UserError where a report has no dvc.lock."""
    client = _there(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    made = "tags.`reforge.stage` = 'report' AND tags.`reforge.out` != ''"
    part = client.search_runs(experiments, made)
    found = list(part)
    while part.token:
        part = client.search_runs(experiments, made, page_token=part.token)
        found += part
    return [_lock_of(client, run) for run in found if run.data.tags["reforge.status"] == "ran"]


def page_of(uri: str, experiment: str) -> str:
    """Return the part of an address that makes MLflow show the experiment's runs: by itself, MLflow opens the pages for
    prompts and agents."""
    found = _there(uri).get_experiment_by_name(experiment)
    place = f"experiments/{found.experiment_id}/runs" if found else "experiments"
    return f"#/{place}?workflowType=machine_learning"


def unknown(uri: str, run_ids: Iterable[str]) -> list[str]:
    """Return the run ids that this MLflow does not know, or knows no longer: it may be a different database."""
    from mlflow.exceptions import MlflowException

    client, missing = _there(uri), []
    for run_id in run_ids:
        try:
            client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            missing.append(run_id)
    return missing


def _there(uri: str) -> MlflowClient:
    """Return a client. Raises UserError where the database is a file that is missing, and does not create it."""
    from mlflow import MlflowClient

    database = Path(_absolute(uri).removeprefix("sqlite:///"))
    if uri.startswith("sqlite:") and not database.is_file():
        raise UserError(
            f"{database} is missing, so nobody knows which runs and reports there are. Bring it back first."
        )
    return MlflowClient(_absolute(uri))


def _lock_of(client: MlflowClient, run: Any) -> str:
    lock = mlflow_files.text_of(client, run.info.run_id, "dvc.lock")
    if lock is None:
        raise UserError(
            f"The report of MLflow run {run.info.run_id} was made without DVC (no dvc.lock is kept with it), so nobody "
            f"knows what it hangs on. Make it again ({command('dvc repro')}), or delete that run in MLflow."
        )
    own = [run.data.tags.get(name, "") for name in ("reforge.out", "reforge.metrics")]
    return "\n".join([lock, *(f"md5: {digest}" for digest in own)]) + "\n"


@contextmanager
def connected(uri: str, experiment: str) -> Iterator[tuple[MlflowClient, str]]:
    """Yield a client and the experiment's id, to one process of this workspace at a time: two that open a fresh
    database both create its tables, and one fails; two that look for a parent run both make one."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is away must not hold up training
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # we report it: it is raised, too
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK, timeout=120):
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        client = MlflowClient(_absolute(uri))
        found = client.get_experiment_by_name(experiment)
        if found is None:
            place = mlflow_files.location(uri, experiment)
            found = client.get_experiment(client.create_experiment(experiment, artifact_location=place))
        if _KIND not in found.tags:  # else MLflow guesses, and opens the pages for prompts and agents
            client.set_experiment_tag(found.experiment_id, _KIND, "custom_model_development")
        yield client, found.experiment_id


def _absolute(uri: str) -> str:
    """Return the address with an absolute path: MLflow keeps one engine per address, and a relative path means a
    different file in a different folder."""
    kind, slashes, path = uri.partition(":///")
    return f"{kind}{slashes}{Path(path).absolute()}" if kind == "sqlite" and slashes else uri


def _parent(client: MlflowClient, experiment: str, info: RunInfo) -> str:
    where = f"tags.`reforge.pipeline` = '{info.pipeline}' AND tags.`reforge.stage` = 'pipeline'"
    found = client.search_runs([experiment], where, max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {"reforge.pipeline": info.pipeline, "reforge.stage": "pipeline"}
    run = client.create_run(experiment, tags=tags, run_name=f"{info.title}, {time.strftime('%Y-%m-%d %H:%M')}")
    _log_params(client, run.info.run_id, info.values)
    _log_files(client, run.info.run_id, info)
    return str(run.info.run_id)


def _log_params(client: MlflowClient, run_id: str, values: dict[str, str]) -> None:
    from mlflow.entities import Param

    params = [Param(key, value[:500]) for key, value in sorted(values.items())]
    for first in range(0, len(params), 100):
        client.log_batch(run_id, params=params[first : first + 100])


def _child(client: MlflowClient, experiment: str, parent: str, info: RunInfo, status: str) -> str:
    from mlflow.entities import Dataset, DatasetInput

    tags = {PARENT: parent, "reforge.pipeline": info.pipeline, "reforge.stage": info.stage, "reforge.status": status}
    run_id = str(client.create_run(experiment, tags={**tags, **info.tags}, run_name=info.stage).info.run_id)
    _log_params(client, run_id, info.params)
    # The entity itself, not mlflow.data.MetaDataset, which says the same but needs pandas and takes a second longer.
    inputs = [Dataset(path, digest, "local", json.dumps({"uri": path})) for path, digest in info.inputs.items()]
    client.log_inputs(run_id, [DatasetInput(dataset) for dataset in inputs])
    _log_files(client, run_id, info)
    return run_id


def _log_files(client: MlflowClient, run_id: str, info: RunInfo) -> None:
    for path in info.files:
        if path.is_file():
            mlflow_files.put(client, run_id, path)


def _resume(client: MlflowClient, state: Path) -> str:
    from mlflow.exceptions import MlflowException

    if not state.is_file():
        return ""
    run_id = str(json.loads(state.read_text())["run_id"])
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # it is there and cannot be written now
            raise
        return ""  # the database was replaced since
    return run_id


def _finish(client: MlflowClient, run_id: str, status: RunStatus, metrics: Metrics, tags: dict[str, str]) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, metrics=_entities(metrics, 0), tags=[RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(run_id, status)


def _entities(metrics: Metrics, step: int) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(_name(key), value, now, step) for key, value in metrics.items()]


def _name(key: str) -> str:
    """Return the name without @, as in pass@1: MLflow allows none in a name."""
    return key.replace("@", "_at_")
