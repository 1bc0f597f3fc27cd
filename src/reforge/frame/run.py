"""Everything that happens around a stage's `run(ctx)`.

`run_stage(name)` is the single entry, whichever door (`reforge stage`, `dvc repro`, Prefect) it is called through.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from reforge.config import KINDS, Config, Determinism, begun_with, instances
from reforge.config.load import load_config
from reforge.config.section import Slot
from reforge.errors import UserError
from reforge.files.digests import sha256
from reforge.files.jsonfile import write_json
from reforge.frame import launch, runs, values
from reforge.frame.context import StageContext
from reforge.frame.determinism import make_deterministic, seed_of
from reforge.frame.disk import explained
from reforge.frame.place import put_in_place, remove, require_places
from reforge.lineage import graph, levels, manifest
from reforge.lineage.declared import Audit, audited, mask, slice_of
from reforge.lineage.graph import StageSpec
from reforge.machine import process
from reforge.machine.project import project_root, quiet
from reforge.machine.workspace import occupied
from reforge.tracking.timeline import steady_clock
from reforge.tracking.tracker import RunInfo, RunStatus, Tracker

# What tools write and read inside the project for themselves; none of it is an input of a stage.
_TOOLS = (
    ".git", ".dvc", ".venv", "mlartifacts", "mlruns", "mlflow.db", ".runs/mlflow.lock", ".runs/wandb",
    ".runs/verdicts.jsonl",
)  # fmt: skip


def run_stage(name: str, node: int = 0) -> None:
    """Run a stage and put its outputs in place, all or none. Raises UserError for what the user can mend.

    Where the learner has several ranks this process launches them; of these, rank 0 runs the stage and the others
    follow it. `node` numbers this machine where there are several.
    """
    quiet()
    os.chdir(project_root())
    records, began = Path(".runs") / name, sha256(runs.PARAMS)
    with explained(name, records):
        spec, config = graph.stage_spec(name), load_config(runs.PARAMS)
    machines = config.learner.nodes if "learner" in spec.params else 1
    if node >= machines:
        raise UserError(f"--node {node}: {name} runs on {machines} of learner.nodes, which count from 0.")
    process.die_with_conductor()
    if "learner" in spec.params and launch.needed(config.learner):
        launch.launch(config.learner, ["stage", name], node)
        return
    if process.rank():
        from reforge.policy import ranks

        make_deterministic(seed_of(config.seed, name), config.determinism)
        ranks.follow()
        return
    with explained(name, records), process.exclusive(records / "lock", f"Stage {name!r}"), occupied():
        process.stop_cleanly_on_sigterm()
        values.require_unchanged(began, f"stage {name!r} was not started")
        values.require_one_repro(name)
        if "experiment" in spec.params:  # such a stage speaks for a whole experiment
            values.require_one_experiment(spec, config)
        _run(spec, config, records)


def _run(spec: StageSpec, config: Config, records: Path) -> None:
    reads: set[str] = set()
    clock, status, outs = steady_clock(), "FAILED", dict[str, str]()
    began = clock()
    runs.send_unsent(config)
    ctx, info, fingerprint = _context(spec, config, records, reads)
    facts: dict[str, Any] = {
        "code": manifest.code_version(),
        "fingerprint": fingerprint,
        "params_yaml": sha256(runs.PARAMS),
        "dvc_lock": graph.lock_hash(),
        "requirements": sha256(Path("requirements/cpu.lock")),
        "seeds": {"config": config.seed, "stage": ctx.seed},
    }
    try:
        with audited(Audit(Path.cwd(), _allowed(spec, config, ctx.scratch, records), spec.name)):
            _call(ctx, config.determinism if "determinism" in spec.params else "fast")
        values.require_unchanged(facts["params_yaml"], f"what stage {spec.name!r} has made was not put in its place")
        put_in_place(ctx, spec)
        outs = graph.digests([spec.out, spec.metrics])
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        facts |= {"params_read": sorted(reads), "resumed": ctx.tracker.recomputed_steps(), **ctx.facts}
        tags = _tags(spec, outs, facts) if outs else {}
        told = ctx.tracker.close(cast(RunStatus, status), ctx.metrics if outs else {}, tags)
        if outs and not told[0]:  # MLflow has not received all
            runs.keep_unsent(info, ctx.tracker, ctx.scratch, spec.out, ctx.metrics, tags)
    run_id, params = runs.mlflow_run_id(ctx.scratch), slice_of(config, spec.params)
    ran = manifest.Ran(spec.name, params, ctx.digests, outs, facts, run_id, began, clock())
    write_json(records / "manifest.json", manifest.statement(ran))
    remove(ctx.scratch)


def _tags(spec: StageSpec, outs: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, str]:
    level = levels.level(spec.out, outs[spec.out], facts, Path.cwd())
    made = {"reforge.out": outs[spec.out], "reforge.out_path": spec.out, "reforge.metrics": outs[spec.metrics]}
    return {**made, "reforge.level": level}


_OF_A_RUN = ("timings.jsonl", "timeline.json", "timeline.html")


def _context(spec: StageSpec, config: Config, records: Path, reads: set[str]) -> tuple[StageContext, RunInfo, str]:
    digests = graph.digests(spec.deps)
    fingerprint = manifest.fingerprint(spec.name, slice_of(config, spec.params), digests)
    place = manifest.fingerprint(spec.name, values.of_the_result(slice_of(config, spec.params)), digests)
    scratch = Path(".scratch") / f"{spec.name}-{place[:12]}"
    if not scratch.exists():
        for name in _OF_A_RUN:  # a run that is resumed goes on with these
            (records / name).unlink(missing_ok=True)
    out = scratch / "out"
    shutil.rmtree(out, ignore_errors=True)  # what an interrupted run had begun to write
    out.mkdir(parents=True)
    require_places(spec, scratch)
    info = runs.run_info(config, spec, digests, fingerprint)
    ctx = StageContext(
        name=spec.name,
        cfg=mask(config, spec.params, spec.name, reads),
        deps=tuple(map(Path, spec.deps)),
        digests=digests,
        out=out,
        scratch=scratch,
        log_folder=records,
        seed=seed_of(config.seed, spec.name),
        tracker=Tracker(scratch, records, runs.mirrors(config, info, scratch)),
        later=begun_with(config, spec.name),
    )
    return ctx, info, fingerprint


def _call(ctx: StageContext, profile: Determinism) -> None:
    kind = ctx.name.partition("@")[0]
    try:
        module = importlib.import_module(f"reforge.stages.{kind}")
    except ModuleNotFoundError as error:
        if error.name != f"reforge.stages.{kind}":
            raise
        raise UserError(f"dvc.yaml has a stage {ctx.name!r}, and there is no src/reforge/stages/{kind}.py.") from error
    make_deterministic(ctx.seed, profile)
    module.run(ctx)
    _require_product(ctx)
    if process.rank() is not None:
        from reforge.policy import ranks

        ranks.dismiss()


def _require_product(ctx: StageContext) -> None:
    """Raise UserError where a stage has not written what its kind says that it makes."""
    kind = KINDS.get(ctx.name.partition("@")[0])
    if kind is None or kind.makes is None:
        return
    folder = ctx.out / Slot(kind.makes).folder
    if not folder.is_dir():
        raise UserError(f"Stage {ctx.name!r} makes {kind.makes}, and has written no folder {folder.name!r} in ctx.out.")


def _allowed(spec: StageSpec, config: Config, scratch: Path, records: Path) -> list[str]:
    """Return what the stage may open: the declared inputs, the stage's own places, the frame's, and files that its
    values name. Problem files are pinned by digests in the params."""
    own = [str(scratch), str(records), spec.out, spec.metrics, "src", "params.yaml", "dvc.yaml"]
    kind, _, key = spec.name.partition("@")
    instance = instances(config).get(f"{kind}/{key}")
    pinned = [file.path for file in (instance.files().values() if instance else ()) if file.sha256]
    started_from = [config.base[key].path] if kind == "base" and config.base[key].path else []
    named = [os.path.relpath(Path(path).expanduser().absolute()) for path in pinned + started_from]
    return [*spec.deps, *own, *_TOOLS, *named]
