"""Run a stage again, from a clean copy of the committed code, at a different path and without any cache: does it leave
what dvc.lock says? If not, where does it first differ?
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from reforge.errors import UserError
from reforge.lineage import graph, levels, manifest
from reforge.lineage.compare import differences
from reforge.lineage.graph import StageSpec
from reforge.lineage.inputs import changed_code, changed_inputs, lock_of
from reforge.machine.project import command, project_root

_SHOWN = 5


def verify(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each stage of `names` with what is wrong with it, as text. No names: all stages, each on what the one
    before it leaves here. Nothing is wrong where a stage's output has the digest in dvc.lock, which is then noted in
    verified.json. Ends after the first stage that fails: those that depend on it would differ, too.
    """
    root, specs = project_root(), graph.stages()
    for name in names:
        graph.stage_spec(name)  # raises where there is none
    wanted = [name for name in specs if name in names or not names]
    locks = {name: lock_of(name) for name in wanted}
    with _clean_copy(root) as copy:
        for name in wanted:
            spec, lock = specs[name], locks[name]
            wrong, ended = _verify(spec, lock, root, copy, alone=bool(names))
            if ended and levels.VERIFIED not in spec.deps:  # else its own success would make it stale
                (digest,) = (entry["md5"] for entry in lock["outs"] if entry["path"] == spec.out)
                levels.note(root, {spec.out: None if wrong else digest})
            yield name, wrong
            if wrong:
                return


def _verify(spec: StageSpec, lock: Mapping[str, Any], root: Path, copy: Path, alone: bool) -> tuple[list[str], bool]:
    """Return what is wrong, and whether the stage ran to its end."""
    expected = {entry["path"]: entry["md5"] for entry in lock["outs"]}
    if alone:
        _bring(spec, root, copy)
    again = command(f"dvc repro {spec.name}")
    remedy = f"commit or undo the change, or make it again with the code of now ({again})"
    with chdir(copy):
        wrong = changed_inputs(spec, lock) + [f"{line}: {remedy}" for line in changed_code(lock)]
        if wrong:
            return wrong, False
        done = subprocess.run(spec.cmd, shell=True, env=_environment(copy), capture_output=True, text=True)
        if done.returncode:
            return [f"it fails: {line}" for line in done.stderr.strip().splitlines()[-_SHOWN:]], False
        found = graph.digests(expected)
    wrong = [line for path in expected for line in _compared(path, expected[path], found[path], root, copy)]
    return wrong + (_other_machine(spec.name, root, copy) if found != expected else []), True


def _compared(path: str, expected: str, found: str, root: Path, copy: Path) -> list[str]:
    """Return what is wrong with `path`. Three digests may differ: that in the lock, that of what lies in the workspace
    (if anything does), and that of what came out now."""
    with chdir(root):
        here = graph.digests([path])[path] if (root / path).exists() else ""
    if found == expected:
        changed = differences(copy / path, root / path) if here not in ("", expected) else []
        return [f"{path} was changed after it was made: {line}" for line in changed[:_SHOWN]]
    if here == expected:
        return [f"{path}: {line}" for line in differences(root / path, copy / path)[:_SHOWN]]
    return [f"{path} has the digest {found}, not dvc.lock's {expected}, and the workspace has no copy to compare with"]


def _other_machine(name: str, root: Path, copy: Path) -> list[str]:
    """Return how the machine differs from when the output was made, if it was made in this workspace."""
    before, now = (manifest.read(name, place).machine for place in (root, copy))
    return [
        f"{key} was {before[key]!r}, and is {now[key]!r}"
        for key in ("cpu", "cores", "threads", "gpus", "python")
        if key in before and key in now and before[key] != now[key]
    ]


@contextmanager
def _clean_copy(root: Path) -> Iterator[Path]:
    """Yield a copy, at a different path, of what is committed, with the parameters and what was verified so far, but
    without outputs and cache."""
    with tempfile.TemporaryDirectory(prefix="reforge-verify-") as folder:
        copy = Path(folder) / "project"
        done = subprocess.run(
            ["git", "clone", "--quiet", "--shared", str(root), str(copy)], capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"git could not clone {root}: {' '.join(done.stderr.split())}")
        for name in ("params.yaml", levels.VERIFIED):
            if (root / name).exists():
                shutil.copy(root / name, copy)
        yield copy


def _bring(spec: StageSpec, root: Path, copy: Path) -> None:
    """Copy the outputs of other stages that the stage reads, except what the copy has made itself or came with. Raises
    UserError where one is missing."""
    for path in spec.deps:
        if not path.startswith("outputs"):
            continue
        if (root / path).exists():
            shutil.copytree(root / path, copy / path, copy_function=_copy_what_lacks, dirs_exist_ok=True)
        elif not (copy / path).exists():
            fetch = command(f"dvc checkout {path}")
            raise UserError(f"{path} is missing. Fetch it ({fetch}), or verify what makes it, too.")


def _copy_what_lacks(source: str, target: str) -> None:
    if not Path(target).exists():
        shutil.copy2(source, target)


def _environment(copy: Path) -> dict[str, str]:
    """Return an environment that runs the copy's code in this interpreter, with sets in a different order."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(copy / "src"), "REFORGE_HASH_SEED": "1"}
