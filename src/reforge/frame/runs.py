"""Report a stage's run to MLflow and W&B: join what lineage knows with what tracking records."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from reforge.config import KINDS, Config, compared_limit
from reforge.config.load import load_config
from reforge.errors import UserError
from reforge.files.digests import sha256
from reforge.files.jsonfile import flat, number, read_json
from reforge.lineage import graph, manifest
from reforge.lineage.declared import slice_of
from reforge.lineage.graph import StageSpec
from reforge.machine.project import command
from reforge.tracking import unsent
from reforge.tracking.mlflow_mirror import MlflowMirror, add_cached, finish_pipeline, unknown
from reforge.tracking.tracker import Metrics, Mirror, RunInfo, RunStatus, Tracker
from reforge.tracking.wandb_mirror import WandbMirror

log = logging.getLogger(__name__)

UNSENT = Path(".runs/unsent")
PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")
_FLOWS = Path(".runs/flows")


def pipeline_id() -> str:
    """Return the name of a pipeline, which follows from its values and code: running it again adds to the same parent
    run."""
    text = sha256(PARAMS) + str(manifest.code_version()["sha"])
    return hashlib.sha256(text.encode()).hexdigest()


def run_info(config: Config, spec: StageSpec, digests: dict[str, str], fingerprint: str) -> RunInfo:
    code = manifest.code_version()
    tags = {
        "reforge.fingerprint": fingerprint,
        "reforge.git_sha": str(code["sha"]),
        "reforge.git_dirty": str(code["dirty"]),
        "reforge.dvc_lock": graph.lock_hash(),
        "reforge.requirements": sha256(Path("requirements/cpu.lock")),
    }
    data = {path: digest for path, digest in digests.items() if not _is_code(path)}
    params = {key: str(value) for key, value in flat(slice_of(config, spec.params)).items()}
    return replace(_of_pipeline(config, spec.name, tags), params=params, inputs=data, model=_model_of(spec))


def _of_pipeline(config: Config, stage: str, tags: dict[str, str]) -> RunInfo:
    """Return what is reported with each run of this pipeline, and with the parent."""
    return RunInfo(
        experiment=config.tracking.mlflow_experiment,
        pipeline=pipeline_id(),
        stage=stage,
        params={},
        tags=tags,
        files=(PARAMS, LOCK),
        name=config.experiment,
        seed=config.seed,
        values={key: str(value) for key, value in flat(config.model_dump(mode="python")).items()},
        evaluated={key: one.model.replace("/", "@") for key, one in config.evaluate.items()},
        compared_at=compared_limit(config),
    )


def _model_of(spec: StageSpec) -> str:
    """Return the folder of weights in the stage's output; empty for a stage that makes none."""
    kind = spec.name.partition("@")[0]
    return f"{spec.out}/model" if kind in KINDS and KINDS[kind].makes == "model" else ""


def mirrors(config: Config, info: RunInfo, scratch: Path) -> list[Callable[[], Mirror]]:
    """Return functions that open the mirrors; the tracker calls them, so that a mirror which fails does no harm."""
    openers: list[Callable[[], Mirror]] = [
        partial(MlflowMirror, config.tracking.mlflow_uri, info, scratch / "mlflow.json")
    ]
    if config.tracking.wandb:
        openers.append(partial(WandbMirror, Path(".runs/wandb"), info))
    return openers


def keep_unsent(
    info: RunInfo, tracker: Tracker, scratch: Path, out: str, metrics: Metrics, tags: dict[str, str]
) -> None:
    """Keep what MLflow has not received of a finished stage; its output lies at `out` by now."""
    moved = [Path(path.as_posix().replace(f"{scratch.as_posix()}/out", out)) for path in tracker.artifacts]
    artifacts = {path.name: path for path in moved}
    unsent.keep(UNSENT, info, tracker.path, scratch / "mlflow.json", artifacts, metrics, tags)
    sync = command("reforge sync")
    log.warning(
        "MLflow has not received all of %s. It gets the rest when the next stage begins, or with: %s", info.stage, sync
    )


def send_unsent(config: Config) -> bool:
    """Send MLflow what it has not received of stages that have finished. Return whether it has received all now."""
    failures = unsent.send_all(UNSENT, config.tracking.mlflow_uri)
    if failures:
        reason = " ".join(f"{type(failures[0]).__name__}: {failures[0]}".split())[:300]
        log.warning("MLflow has not received %d finished stages yet (%s).", len(failures), reason)
    return not failures


def require_known(config: Config) -> None:
    """Raise UserError unless MLflow knows the last run of each stage that was reported to it; it may be a different
    database."""
    known = {
        path.parent.name: manifest.read(path.parent.name, Path()) for path in Path(".runs").glob("*/manifest.json")
    }
    told = {record.mlflow_run_id: stage for stage, record in known.items() if record.mlflow_run_id}
    uri = config.tracking.mlflow_uri
    try:
        missing = unknown(uri, told) if told else []
    except UserError:
        raise
    except Exception as error:  # whatever MLflow, its database or the network raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"MLflow at {uri} cannot be asked ({reason}). Bring it back first.") from error
    if missing:
        raise UserError(
            f"MLflow at {uri} does not know run {missing[0]} of {told[missing[0]]}: it is a different database, or "
            "that run was deleted for good. Bring the database back, or run the stage again."
        )


def mlflow_run_id(scratch: Path) -> str:
    state = scratch / "mlflow.json"
    return str(json.loads(state.read_text())["run_id"]) if state.is_file() else ""


def mirror_cached(names: Iterable[str] | None = None) -> None:
    """Give each of these stages (None: all) that DVC skipped a child run, pointing at the run that made its output."""
    config, specs = load_config(PARAMS), graph.stages()
    send_unsent(config)  # first, so that a stage that ran is not taken for a cached one
    told = []
    for name in specs if names is None else names:
        lock = graph.locked(name)
        outs = {entry["path"]: entry["md5"] for entry in lock.get("outs", [])}
        if specs[name].out not in outs:
            continue
        digests = {entry["path"]: entry["md5"] for entry in lock.get("deps", [])}
        spec = specs[name]
        info = run_info(config, spec, digests, manifest.fingerprint(name, slice_of(config, spec.params), digests))
        info.tags["reforge.out"] = outs[spec.out]
        told.append((info, _headline(Path(spec.metrics))))
    _unless_away(partial(add_cached, config.tracking.mlflow_uri, told))


def begin_flow(flow_run: str) -> None:
    """Remember which run in MLflow is the parent of this flow run: params.yaml may be different when it ends."""
    begun = _FLOWS / flow_run
    begun.mkdir(parents=True, exist_ok=True)
    shutil.copy(PARAMS, begun)
    (begun / "pipeline").write_text(pipeline_id())


def end_flow(flow_run: str, status: RunStatus) -> None:
    """End the flow run's parent in MLflow. Nothing is done where it never began, or where that has been done."""
    begun = _FLOWS / flow_run
    if (begun / "pipeline").is_file():
        close_pipeline(status, (begun / "pipeline").read_text(), begun / PARAMS)
        shutil.rmtree(begun)


def close_pipeline(status: RunStatus, pipeline: str = "", params: Path = PARAMS) -> None:
    """End the parent run, by default that of the current values and code, with the hash of the final dvc.lock."""
    config = load_config(params)
    tags = {"reforge.dvc_lock": graph.lock_hash(), "reforge.git_sha": str(manifest.code_version()["sha"])}
    info = replace(_of_pipeline(config, "pipeline", tags), pipeline=pipeline or pipeline_id(), files=(params, LOCK))
    _unless_away(partial(finish_pipeline, config.tracking.mlflow_uri, info, status))


def _unless_away(tell: Callable[[], None]) -> None:
    """Call `tell` and only log its failure: a pipeline has not failed because MLflow did not receive it."""
    try:
        tell()
    except Exception as error:  # whatever MLflow raises
        log.warning("MLflow was not told of this pipeline's end (%s).", " ".join(str(error).split())[:300])


def _is_code(path: str) -> bool:
    return path.startswith(("src/", "requirements/"))


def _headline(path: Path) -> Metrics:
    kept = read_json(path, f"Bring it back with: {command('dvc repro')}") if path.is_file() else {}
    return {key: number(value) for key, value in kept.items() if value is not None}
