"""Collect garbage: objects of DVC's cache, and states of interrupted stages, that nothing worth keeping needs.

Kept is what any dvc.lock or *.dvc names (in the workspace, in clones in .scratch, or in any commit), and what each
report depends on that MLflow knows and nobody has deleted there. `dvc gc` alone would not know of reports whose
dvc.lock was never committed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reforge.config.load import load_config
from reforge.errors import UserError
from reforge.frame import runs
from reforge.lineage import graph
from reforge.machine import process
from reforge.machine.project import command, project_root, quiet
from reforge.tracking.mlflow_mirror import reports

_SCRATCH = Path(".scratch")
_DIGEST = re.compile(r"md5: ([0-9a-f]{32}(?:\.dir)?)")
_NAMES_OUTPUTS = ["dvc.lock", "*.dvc"]


@dataclass(frozen=True)
class Garbage:
    """The garbage that may go: `files` of the cache and `folders` of interrupted stages, `size` bytes in all. `reports`
    is how many reports are kept."""

    files: list[Path]
    folders: list[Path]
    size: int
    reports: int


def collect(remove: bool) -> Garbage:
    """Return what may go, and delete it if `remove` is set. Raises UserError where it cannot be known what may go."""
    quiet()
    os.chdir(project_root())
    if runs.UNSENT.is_dir() and list(runs.UNSENT.glob("[0-9]*")):
        first = command("reforge sync")
        raise UserError(f"MLflow has not received every run yet, so nobody knows all reports. First: {first}")
    config = load_config(runs.PARAMS)
    runs.require_known(config)
    kept = reports(config.tracking.mlflow_uri)
    texts = [*kept, *_committed()]
    with graph.alone() as cache:  # DVC puts an output into its cache before dvc.lock names it
        needed = {digest for text in [*texts, *_here()] for digest in _DIGEST.findall(text)}
        needed |= {inner for digest in needed if digest.endswith(".dir") for inner in _inside(cache, digest)}
        files = [path for path in sorted(cache.glob("*/*")) if path.parent.name + path.name not in needed]
        folders = list(_abandoned())
        every = [*files, *(path for folder in folders for path in folder.rglob("*"))]
        size = sum(path.stat().st_size for path in every if path.is_file())
        if remove:
            for path in files:
                path.unlink()
            for folder in folders:
                shutil.rmtree(folder)
    return Garbage(files, folders, size, len(kept))


def _here() -> Iterator[str]:
    named = _git("ls-files", "-z", "--cached", "--others", "--", *_NAMES_OUTPUTS).split("\0")
    for path in [*map(Path, named), *_SCRATCH.glob("**/dvc.lock")]:
        if path.is_file():
            yield path.read_text()


def _committed() -> Iterator[str]:
    listed = _git("rev-list", "--all", "--full-history", "--objects", "--", *_NAMES_OUTPUTS)
    for line in listed.splitlines():
        blob, _, path = line.partition(" ")
        if Path(path).suffix in (".lock", ".dvc"):  # and not the folder .dvc
            yield _git("cat-file", "blob", blob)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {arguments[0]} failed, so nobody knows what commits need: {done.stderr.strip()}")
    return done.stdout


def _inside(cache: Path, digest: str) -> list[str]:
    """Return the digests of the files of a folder; none where the cache does not have the folder."""
    path = cache / digest[:2] / digest[2:]
    return [entry["md5"] for entry in json.loads(path.read_text())] if path.is_file() else []


def _abandoned() -> Iterator[Path]:
    """Yield, for each stage that does not run now, all its states but the one that a restart may go on from: the newest
    with a checkpoint, or the newest if none has one. Yield also what a finished stage was killed while removing."""
    states: dict[str, list[Path]] = {}
    for folder in _SCRATCH.glob("*-????????????"):
        states.setdefault(folder.name.rpartition("-")[0], []).append(folder)
    for stage, of_stage in states.items():
        if not process.held(Path(".runs") / stage / "lock"):
            yield from sorted(of_stage, key=lambda at: (any(at.glob("**/step.json")), at.stat().st_mtime_ns))[:-1]
    yield from _SCRATCH.glob("*.done")
