"""Compare what dvc.lock says a stage read with what it would read now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reforge.config.load import load_config
from reforge.errors import UserError
from reforge.lineage import graph
from reforge.lineage.declared import slice_of
from reforge.lineage.graph import StageSpec
from reforge.machine.project import command

_PARAMS, _CODE = "params.yaml", ("src/", "requirements/")


def lock_of(name: str) -> dict[str, Any]:
    lock = graph.locked(name)
    if not lock:
        first = command(f"dvc repro {name}")
        raise UserError(f"{name} is not in dvc.lock: there is nothing to compare with. Run: {first}")
    return lock


def changed_inputs(spec: StageSpec, lock: Mapping[str, Any]) -> list[str]:
    """Return as messages which values and data here differ from those that `lock` says the stage ran with."""
    return [*_changed_params(spec, lock), *changed_files(_deps(lock), code=False)]


def require_inputs(spec: StageSpec) -> None:
    """Raise UserError where values or data here differ from those that dvc.lock says the stage ran with."""
    wrong = changed_inputs(spec, lock_of(spec.name))
    if wrong:
        raise UserError(f"{spec.name} ran with something else than what is here: {wrong[0]}.")


def changed_code(lock: Mapping[str, Any]) -> list[str]:
    """Return as messages which code, and which versions of libraries, differ from those that the stage ran with."""
    return changed_files(_deps(lock), code=True)


def _deps(lock: Mapping[str, Any]) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in lock.get("deps", [])}


def _changed_params(spec: StageSpec, lock: Mapping[str, Any]) -> list[str]:
    before, now = lock.get("params", {}).get(_PARAMS, {}), slice_of(load_config(Path(_PARAMS)), spec.params)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return [f"{_PARAMS}: {key} was {before.get(key)!r} when it ran, and is {now.get(key)!r}" for key in changed]


def changed_files(deps: Mapping[str, str], code: bool) -> list[str]:
    """Return as messages which of `deps`, with the digests that a stage has read, are different here: those that are
    code, or those that are not."""
    before = {path: digest for path, digest in deps.items() if path.startswith(_CODE) == code}
    return [
        f"{path} is not what it ran with ({digest}, not {before[path]})"
        for path, digest in graph.digests(before).items()
        if digest != before[path]
    ]
