"""The context is all that a stage is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reforge.config import Config
from reforge.errors import UserError
from reforge.tracking.tracker import Tracker


@dataclass(frozen=True)
class StageContext:
    """All that a stage may use. Paths are relative to the project root, which is the working directory.

    Reading a parameter that dvc.yaml does not list raises; so does opening an undeclared file of the project.
    `out` is renamed onto the declared output when `run` returns; `scratch` survives a crash and belongs to exactly
    these inputs; `log_folder` keeps what is no output; `metrics` are the headline numbers for the stage's metrics file,
    `facts` go into its manifest.
    """

    name: str
    cfg: Config
    deps: tuple[Path, ...]
    digests: dict[str, str]  # of the deps, as in dvc.lock
    out: Path
    scratch: Path
    log_folder: Path
    seed: int
    tracker: Tracker
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return what comes after the @: "16k" for rl@16k, "" for a stage with one instance."""
        return self.name.partition("@")[2]

    def dep(self, name: str) -> Path:
        """Return the one declared input (code apart) whose last path part is `name`."""
        found = [path for path in self.deps if path.name == name and path.parts[0] != "src"]
        if len(found) != 1:
            listed = ", ".join(map(str, self.deps))
            raise UserError(f"Stage {self.name!r} has {len(found)} deps named {name!r} in dvc.yaml: {listed}.")
        return found[0]
