"""Remove outputs of stages that the graph no longer has, which a report would take for this experiment's."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from reforge.config import KINDS, Config, instances
from reforge.lineage import graph

ASIDE = Path(".runs/aside")


def remove_gone(config: Config) -> list[str]:
    """Remove these outputs and their metrics: DVC's run-cache brings them back when the graph has the stages again.
    What its cache does not have is moved to `ASIDE`. Return what was done, as sentences."""
    kept = set(instances(config))
    outs = [path for kind in KINDS for path in sorted(Path("outputs", kind).glob("*"))]
    metrics = [path for kind in KINDS for path in sorted(Path("metrics", kind).glob("*.json"))]
    gone = [path for path in outs if f"{path.parent.name}/{path.name}" not in kept]
    gone += [path for path in metrics if f"{path.parent.name}/{path.stem}" not in kept]
    said = []
    for path in gone:
        if graph.is_cached(path.as_posix()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            said.append(f"{path} belongs to no stage now and was removed; DVC's cache keeps it.")
        else:
            place = next(free for n in count() if not (free := _aside(path, n)).exists())
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
            said.append(f"{path} belongs to no stage now and is not in DVC's cache: moved to {place}.")
    return said


def _aside(path: Path, number: int) -> Path:
    """Return the place for `path` in `ASIDE`; `number` tells it from those moved there before."""
    return ASIDE / path.with_name(path.name + (f".{number}" if number else ""))
