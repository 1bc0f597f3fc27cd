"""Outputs of stages that the graph no longer has. A report would take them for this experiment's."""

from __future__ import annotations

import shutil
from pathlib import Path

from reforge.config import Config, instances
from reforge.lineage import graph

ASIDE = Path(".runs/aside")


def remove_gone(config: Config) -> list[str]:
    """Remove them, and their metrics: DVC's run-cache brings them back when the graph has them again. What its cache
    does not have is moved to `ASIDE`. Return what was done, as sentences.
    """
    kept = set(instances(config)) | {"none/model", "none/data"}
    outs = [path for path in sorted(Path("outputs").glob("*/*")) if f"{path.parent.name}/{path.name}" not in kept]
    metrics = [path for path in sorted(Path("metrics").glob("*/*")) if f"{path.parent.name}/{path.stem}" not in kept]
    said = []
    for path in [*outs, *metrics]:
        if graph.is_cached(path.as_posix()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            said.append(f"{path} belongs to no stage now and was removed; DVC's cache keeps it.")
        else:
            place = ASIDE / path
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
            said.append(f"{path} belongs to no stage now and is not in DVC's cache: moved to {place}.")
    return said
