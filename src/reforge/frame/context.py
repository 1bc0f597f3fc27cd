"""The context is all that a stage is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reforge.config import Config, dotted
from reforge.config.section import Instance
from reforge.errors import UserError
from reforge.tracking.tracker import Tracker


@dataclass(frozen=True)
class StageContext:
    """All that a stage may use. Paths are relative to the project root, which is the working directory.

    Reading a parameter that dvc.yaml does not list raises; so does opening an undeclared file of the project.
    `out` is renamed onto the declared output when `run` returns; `scratch` survives a crash and belongs to exactly
    these inputs; `log_folder` keeps what is no output; `later` are the stages whose models began with the one that a
    stage of kind `base` makes, by name as `rl/short`: to refuse what they could not use, not to make anything from;
    `metrics` are the headline numbers for the stage's metrics file,
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
    later: Mapping[str, Instance] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return what comes after the @: "short" for rl@short, "" for a stage with one instance."""
        return self.name.partition("@")[2]

    @property
    def where(self) -> str:
        """Return how overrides call the stage's own values: "rl.short" for rl@short."""
        return dotted(self.name)

    def dep(self, name: str) -> Path:
        """Return the one declared input (code apart) whose last path part is `name`."""
        found = [path for path in self.deps if path.name == name and path.parts[0] != "src"]
        if len(found) != 1:
            listed = ", ".join(map(str, self.deps))
            raise UserError(f"Stage {self.name!r} has {len(found)} deps named {name!r} in dvc.yaml: {listed}.")
        return found[0]

    def input(self, slot: str) -> Path:
        """Return the folder of the input that the stage's own values name in `slot`, such as `init`."""
        own = getattr(self.cfg, self.name.partition("@")[0])[self.key]
        path = Path(own.input(slot))
        if path not in self.deps:
            listed = ", ".join(map(str, self.deps))
            raise UserError(
                f"Stage {self.name!r}: dvc.yaml does not list {path}, its {slot}, among its deps: {listed}."
            )
        return path
