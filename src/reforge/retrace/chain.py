"""From a result back to the problems: the graph, dvc.lock's digests and the MLflow runs that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from reforge.errors import UserError
from reforge.lineage import graph, levels, manifest
from reforge.machine.project import command, project_root


def explain(target: str) -> list[str]:
    """Each stage that the stage `target` hangs on, nearest first: output, digest, MLflow run, how surely it comes about
    again, and what it read."""
    specs, upstream = graph.stages(), graph.graph()
    if not graph.locked(target):
        first = command(f"dvc repro {target}")
        raise UserError(f"{target} has not run here, or is not in dvc.lock. Start with: {first}")
    needed = {target}
    for name in reversed(upstream):  # downstream first
        if name in needed:
            needed |= set(upstream[name])
    lines = []
    for name in reversed(upstream):
        if name in needed:
            lines += _describe(name, specs[name], [specs[up].out for up in upstream[name]])
    return lines


def maker(what: str, specs: Mapping[str, graph.StageSpec]) -> str:
    """The stage with this name, or the one whose output holds this file; empty if there is none."""
    if what in specs:
        return what
    path = os.path.normpath(what.removeprefix(f"{project_root()}/"))
    for name, spec in specs.items():
        if path in (spec.out, spec.metrics) or path.startswith(f"{spec.out}/"):
            if Path(spec.out).exists() and not Path(path).exists():
                raise UserError(f"{path} is not there, and {name} made nothing of that name that is here now.")
            return name
    return ""


def _changed(paths: list[str], digests: dict[str, str]) -> list[str]:
    """What lies here now is what is read, so say where it is not what dvc.lock names."""
    here = graph.digests(path for path in paths if Path(path).exists())
    other, this = command("dvc checkout"), command("dvc commit")
    return [
        f"    CHANGED since dvc.lock: {path} is {digest} now (`{other}` restores the other, `{this}` keeps this)"
        for path, digest in here.items()
        if digest != digests[path]
    ]


def _describe(name: str, spec: graph.StageSpec, upstream: list[str]) -> list[str]:
    lock = graph.locked(name)
    digests = {entry["path"]: entry["md5"] for entry in lock.get("outs", [])}
    if spec.out not in digests:
        return [f"{name}: has not run, or is not in dvc.lock"]
    record = manifest.read(name, project_root())
    # The manifest tells of the last run here. If DVC brought an output from its cache, another run made it.
    made_here = record.outs.get(spec.out) == digests[spec.out]
    run = (
        f"MLflow run {record.mlflow_run_id}"
        if made_here and record.mlflow_run_id
        else f"{'made here' if made_here else 'made elsewhere'}: find the MLflow run with tags.`reforge.out` = "
        f"'{digests[spec.out]}'"
    )
    lines = [f"{name}: {spec.out}  md5 {digests[spec.out]}  {run}"]
    facts = record.facts if made_here else {}
    lines += _changed([path for path in (spec.out, spec.metrics) if path in digests], digests)
    lines.append(f"    {levels.level(spec.out, digests[spec.out], facts, project_root())}")
    for entry in lock.get("deps", []):
        if any(
            entry["path"] == out or entry["path"].startswith(f"{out}/") or out.startswith(f"{entry['path']}/")
            for out in upstream
        ):
            lines.append(f"    from {entry['path']}  md5 {entry['md5']}")
    return lines
