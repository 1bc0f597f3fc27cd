"""Ensure one experiment at a time: what belongs together was made with the same values, those of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from reforge.config import Config
from reforge.errors import UserError
from reforge.files.digests import sha256
from reforge.files.jsonfile import read_json, write_json
from reforge.lineage import graph, manifest
from reforge.lineage.declared import slice_of
from reforge.lineage.graph import StageSpec
from reforge.lineage.inputs import changed_files
from reforge.machine.project import command
from reforge.machine.workspace import runs_stages

PARAMS = Path("params.yaml")
_REPRO = Path(".runs/repro.json")
# How the learner is spread over machines: a stage may go on with different values of these.
_SPREAD = {"ranks", "nodes", "rendezvous", "sequence_parallel", "zero_stage", "offload", "threads", "checkpoints"}
_PLACES = {
    "learner": _SPREAD,
    "sampler": {"urls", "replicas", "devices", "handover", "patience_seconds", "startup_seconds"},
    "sandbox": {"urls", "workers"},
}


def of_the_result(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params` without how the learner is spread and what would stop it: a stage may go on with different
    values."""
    kept = {
        key: {name: inner for name, inner in value.items() if name != "guards"} if key.startswith("rl.") else value
        for key, value in params.items()
    }
    if "learner" in kept:
        kept["learner"] = {key: value for key, value in kept["learner"].items() if key not in _SPREAD}
    return kept


def require_unchanged(began: str, consequence: str) -> None:
    """Raise UserError where params.yaml has a different digest now than `began`."""
    if sha256(PARAMS) != began:
        raise UserError(
            f"{PARAMS} has changed since this run began: {consequence}, because it would mix two experiments. Compose "
            "the former values again and start the run again (finished steps are kept), or start a run of the new ones."
        )


def require_one_repro(stage: str) -> None:
    """Raise UserError where this stage would run on different values than the first of the same `dvc repro`; DVC alone
    would take up new ones in between."""
    dvc = _dvc()
    if dvc is None:
        return
    me = [dvc.pid, dvc.create_time()]
    before = read_json(_REPRO, "Delete it") if _REPRO.is_file() else {}
    if before.get("process") == me:
        require_unchanged(before["params"], f"stage {stage!r} was not started")
    write_json(_REPRO, {"process": me, "params": sha256(PARAMS)})


def _dvc() -> psutil.Process | None:
    try:
        return next((above for above in psutil.Process().parents() if runs_stages(above)), None)
    except psutil.Error:
        return None


def require_one_experiment(spec: StageSpec, config: Config) -> None:
    """Check a stage that speaks for a whole experiment. Raises UserError unless all that it depends on was made with
    the current values, each from what the stage before it has left here. Outputs that have no record are taken as they
    are."""
    specs, edges = graph.stages(), graph.graph()
    needed = {spec.name}
    for name in reversed(edges):
        if name in needed:
            needed |= set(edges[name])
    for name in (name for name in edges if name in needed - {spec.name}):
        if wrong := _other(specs[name], config):
            raise UserError(
                f"Stage {spec.name!r} was not started, it would mix two experiments: {specs[name].out} was made by "
                f"{name}, and {wrong}. Bring all of it to the values of {PARAMS} with: {command('dvc repro')}"
            )


def _other(spec: StageSpec, config: Config) -> str:
    """Return as text what differs from what the output here was made with; empty if nothing does, or nobody knows."""
    (now,) = graph.digests([spec.out]).values()
    lock, record = graph.locked(spec.name), manifest.read(spec.name, Path())
    said = []
    if record.outs.get(spec.out) == now:
        said.append(_other_inputs(record.params, record.deps, spec, config))
    if now in [entry["md5"] for entry in lock.get("outs", []) if entry["path"] == spec.out]:
        deps = {entry["path"]: entry["md5"] for entry in lock.get("deps", [])}
        said.append(_other_inputs(lock.get("params", {}).get(PARAMS.name, {}), deps, spec, config))
    return said[0] if said and all(said) else ""  # several inputs may give one output


def _other_inputs(params: Mapping[str, Any], deps: Mapping[str, str], spec: StageSpec, config: Config) -> str:
    before, wanted = _without_places(params), _without_places(slice_of(config, spec.params))
    changed = sorted(key for key in before.keys() & wanted.keys() if before[key] != wanted[key])
    if "seed" in changed:
        changed = ["seed"]
    said = [f"{key} was {before[key]!r} then and is {wanted[key]!r} in {PARAMS}" for key in changed]
    return (said or changed_files(deps, code=False) or [""])[0]


def _without_places(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {name: inner for name, inner in value.items() if name not in _PLACES[key]} if key in _PLACES else value
        for key, value in of_the_result(params).items()
    }
