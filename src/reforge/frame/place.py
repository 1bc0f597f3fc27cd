"""Move the outputs of a stage to their places, all or none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reforge.errors import UserError
from reforge.files.jsonfile import write_json
from reforge.frame.context import StageContext
from reforge.lineage.graph import StageSpec


def require_places(spec: StageSpec, scratch: Path) -> None:
    """Raise UserError where what the stage makes could not be moved to its place. Called before the first step, so that
    this is not found out after the last."""
    for place in (Path(spec.out), Path(spec.metrics)):
        probe, there = scratch / "probe", place.parent / f".{scratch.name}.probe"
        try:
            probe.mkdir(exist_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            probe.rename(there)
            there.rmdir()
        except OSError as error:
            raise UserError(
                f"Stage {spec.name!r} was not started, it could not put {place} in its place: {error.strerror}. "
                f"{place.parent} must be a folder to write into, on the file system of {scratch.parent.absolute()}: "
                "what is finished is moved, whole, from there."
            ) from error


def put_in_place(ctx: StageContext, spec: StageSpec) -> None:
    """Sync the outputs to the disk, then move them to their places: a reader, or a power cut, finds the whole output or
    none of it."""
    if ctx.tracker.path.stat().st_size:
        shutil.copyfile(ctx.tracker.path, ctx.out / "metrics.jsonl")
    metrics, old = ctx.scratch / "headline.json", ctx.scratch / "old"
    write_json(metrics, dict(ctx.metrics))
    for folder, _, names in os.walk(ctx.out, topdown=False):
        for path in [*(os.path.join(folder, name) for name in names), folder]:
            _sync(path)
    for declared in (Path(spec.out), Path(spec.metrics)):
        declared.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(old, ignore_errors=True)
    if Path(spec.out).exists():
        Path(spec.out).rename(old)
    ctx.out.rename(spec.out)
    metrics.replace(spec.metrics)
    _sync(Path(spec.out).parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(scratch: Path) -> None:
    """Remove a scratch folder, first giving it a name that no stage resumes from: killed in the middle of it, it must
    not look like a state."""
    done = scratch.with_name(f"{scratch.name}.done")
    shutil.rmtree(done, ignore_errors=True)
    scratch.rename(done)
    shutil.rmtree(done)
