"""The graph as DVC reads it. This is the only module that imports DVC; `Repo().index` is internal: pinned, wrapped,
tested.

Everybody else asks here which stages there are, what each declares, and what its files' digests are.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from reforge.errors import UserError
from reforge.files.digests import sha256
from reforge.machine.project import command, project_root, quiet

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class StageSpec:
    """One stage of dvc.yaml after `foreach` and templates are resolved. Paths are relative to the project root."""

    name: str
    cmd: str
    deps: tuple[str, ...]
    out: str
    params: tuple[str, ...]
    metrics: str
    needs: str = "cpu"  # the class of machine: dvc.yaml's `meta: {needs: gpu}`


def stages() -> dict[str, StageSpec]:
    """Return all stages, upstream first, otherwise in the order of dvc.yaml."""
    with _repo() as repo:
        return {stage.addressing: _spec(stage) for stage in _ordered(repo)}


def graph() -> dict[str, list[str]]:
    """Return each stage with its direct upstream stages, upstream first."""
    with _repo() as repo:
        edges = repo.index.graph.successors
        return {stage.addressing: sorted(up.addressing for up in edges(stage)) for stage in _ordered(repo)}


def stage_spec(name: str) -> StageSpec:
    specs = stages()
    if name not in specs:
        near = difflib.get_close_matches(name, specs, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(f"dvc.yaml has no stage {name!r}; there are: {', '.join(specs)}.{hint}")
    return specs[name]


def digests(paths: Iterable[str]) -> dict[str, str]:
    """Return the digests that dvc.lock would have for these files and folders as they are now. Raises UserError for a
    missing one."""
    from dvc_data.hashfile.build import build

    found = {}
    with _repo() as repo:
        for path in paths:
            absolute = Path(repo.root_dir, path)
            if not absolute.exists():
                raise UserError(f"{path} is missing. If a stage makes it, run: {command('dvc repro')}")
            _, _, tree = build(repo.cache.local, str(absolute), repo.fs, "md5", ignore=repo.dvcignore, dry_run=True)
            found[path] = str(tree.hash_info.value)
    return found


def contents(digest: str) -> dict[str, str]:
    """Return the digests of the files in a folder with this digest, by path; empty where the cache does not know it."""
    with _repo() as repo:
        path = Path(repo.cache.local.path) / digest[:2] / digest[2:]
        listed = json.loads(path.read_text()) if digest.endswith(".dir") and path.is_file() else []
    return {entry["relpath"]: entry["md5"] for entry in listed}


def is_cached(path: str) -> bool:
    """Return whether DVC's cache has this file, or every file of this folder, as it is now."""
    (digest,) = digests([path]).values()
    wanted = [digest, *contents(digest).values()]
    with _repo() as repo:
        cache = Path(repo.cache.local.path)
        return all((cache / one[:2] / one[2:]).is_file() for one in wanted)


@contextmanager
def alone() -> Iterator[Path]:
    """Yield the folder of the cache's objects. No DVC command changes outputs, cache or dvc.lock meanwhile; DVC waits a
    few seconds at most, so be quick."""
    with _repo() as repo, repo.lock:
        yield Path(repo.cache.local.path)


def locked(name: str) -> dict[str, Any]:
    """Return dvc.lock's entry of a stage; empty if the stage has not run yet."""
    return dict(_lock().get("stages", {}).get(name, {}))


def lock_hash() -> str:
    """Return the sha256 of dvc.lock; empty if there is none yet."""
    return sha256(project_root() / "dvc.lock")


def _lock() -> dict[str, Any]:
    path = project_root() / "dvc.lock"
    return dict(yaml.safe_load(path.read_text()) or {}) if path.is_file() else {}


@contextmanager
def _repo() -> Iterator[Repo]:
    """Open the repository. DVC's errors about dvc.yaml and params.yaml become UserError."""
    quiet()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    root = project_root()
    if not (root / "params.yaml").is_file():
        raise UserError(
            f"{root / 'params.yaml'} not found. Write it with: {command('reforge compose experiment=tiny')}"
        )
    try:
        with Repo(str(root)) as repo:
            yield repo
    except DvcException as error:
        raise UserError(f"DVC cannot read the graph of {root}: {_said(error, root)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"DVC cannot read the graph of {root}: a file there is not text. {_remedy(root)}") from error


def _said(error: Exception, root: Path) -> str:
    words = " ".join(str(error).split())
    if "is not a git repository" in words:
        return f"{words}. Work in a clone (git clone), or make it a repository with: git init {shlex.quote(str(root))}"
    return f"{words}. {_remedy(root)}"


def _remedy(root: Path) -> str:
    remedies = {
        "dvc.lock": "delete it, or bring a committed one back; DVC does not run again what it has cached",
        "dvc.yaml": "bring the committed one back",
        "params.yaml": f"write it again, as with: {command('reforge compose experiment=tiny')}",
    }
    for name, remedy in remedies.items():
        path = root / name
        try:
            whole = not path.exists() or isinstance(yaml.safe_load(path.read_text()), dict)
        except (yaml.YAMLError, UnicodeDecodeError, OSError):
            whole = False
        if not whole:
            return f"{name} is not what was written: {remedy}"
    return "Mend what it names."


def _ordered(repo: Repo) -> list[Any]:
    import networkx

    written = {stage: place for place, stage in enumerate(repo.index.stages)}
    return list(networkx.lexicographical_topological_sort(repo.index.graph.reverse(), key=written.__getitem__))


def _spec(stage: Any) -> StageSpec:
    from dvc.dependency.param import ParamsDependency

    name = stage.addressing
    params = [key for dep in stage.deps if isinstance(dep, ParamsDependency) for key in dep.params]
    deps = [dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    metrics = [out.def_path for out in stage.outs if out.metric]
    outs = [out.def_path for out in stage.outs if not out.metric]
    if len(outs) != 1 or len(metrics) != 1:
        raise UserError(f"dvc.yaml: stage {name!r} needs exactly one `outs` folder and one `metrics` file.")
    return StageSpec(
        name, stage.cmd, tuple(deps), outs[0], tuple(params), metrics[0], (stage.meta or {}).get("needs", "cpu")
    )
