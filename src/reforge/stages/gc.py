"""What may go: objects of DVC's cache, and states of interrupted stages, that nothing needs which is worth keeping.

Kept is what any dvc.lock or *.dvc names, of the workspace or of any commit, and what each report hangs on that MLflow
knows and nobody has deleted there. `dvc gc` alone would not know of reports whose dvc.lock was never committed.
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

from reforge.environment import project_root, quiet
from reforge.errors import UserError
from reforge.lineage import graph
from reforge.params import load_config
from reforge.stages import runs
from reforge.tracking.mlflow_mirror import reports

_CACHE, _SCRATCH = Path(".dvc/cache/files/md5"), Path(".scratch")
_DIGEST = re.compile(r"md5: ([0-9a-f]{32}(?:\.dir)?)")
_NAMES_OUTPUTS = ["dvc.lock", "*.dvc"]


@dataclass(frozen=True)
class Garbage:
    """`files` of the cache and `folders` of interrupted stages, `size` bytes in all; `reports` is how many are kept."""

    files: list[Path]
    folders: list[Path]
    size: int
    reports: int


def collect(remove: bool) -> Garbage:
    """What may go; it is gone when this returns if `remove` says so."""
    quiet()
    os.chdir(project_root())
    tracking = load_config(runs.PARAMS).tracking
    if tracking.mlflow_uri == "sqlite:///mlflow.db" and not Path("mlflow.db").is_file():
        raise UserError("mlflow.db is missing, so nobody knows which reports are to be kept. Bring it back first.")
    with graph.alone():  # DVC puts an output into its cache before dvc.lock names it
        kept = reports(tracking.mlflow_uri, tracking.mlflow_experiment)
        needed = {digest for text in [*_texts(), *kept] for digest in _DIGEST.findall(text)}
        needed |= {inner for digest in needed if digest.endswith(".dir") for inner in _inside(digest)}
        files = [path for path in sorted(_CACHE.glob("*/*")) if path.parent.name + path.name not in needed]
        folders = list(_abandoned())
        every = [*files, *(path for folder in folders for path in folder.rglob("*"))]
        size = sum(path.stat().st_size for path in every if path.is_file())
        if remove:
            for path in files:
                path.unlink()
            for folder in folders:
                shutil.rmtree(folder)
    return Garbage(files, folders, size, len(kept))


def _texts() -> Iterator[str]:
    """Of all files that name outputs: those here, and those of every commit."""
    here = _git("ls-files", "-z", "--cached", "--others", "--", *_NAMES_OUTPUTS).split("\0")
    yield from (Path(name).read_text() for name in here if Path(name).is_file())
    for line in _git("rev-list", "--all", "--objects", "--", *_NAMES_OUTPUTS).splitlines():
        blob, _, path = line.partition(" ")
        if Path(path).suffix in (".lock", ".dvc"):  # and not the folder .dvc
            yield _git("cat-file", "blob", blob)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {arguments[0]} failed, so nobody knows what commits need: {done.stderr.strip()}")
    return done.stdout


def _inside(digest: str) -> list[str]:
    """Of the files of a folder; none where the cache does not have it."""
    path = _CACHE / digest[:2] / digest[2:]
    return [entry["md5"] for entry in json.loads(path.read_text())] if path.is_file() else []


def _abandoned() -> Iterator[Path]:
    """Of each stage all states but the newest, which a restart may go on from."""
    states: dict[str, list[Path]] = {}
    for folder in sorted(_SCRATCH.glob("*-????????????"), key=lambda folder: folder.stat().st_mtime_ns):
        states.setdefault(folder.name.rpartition("-")[0], []).append(folder)
    for of_stage in states.values():
        yield from of_stage[:-1]
