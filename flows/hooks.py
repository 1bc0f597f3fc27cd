"""The hook that Prefect calls when a flow run ends badly; after a crash it calls it in the worker's process."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

from reforge.errors import UserError
from reforge.frame import runs
from reforge.machine.project import project_root, quiet


def close_tracking(flow: Any, flow_run: Any, state: Any) -> None:
    """End the run's parent in MLflow. Idempotent, because a zombie automation may crash a run twice or late."""
    quiet()
    with chdir(_root()):
        runs.end_flow(str(flow_run.id), "KILLED" if state.is_cancelled() or state.is_crashed() else "FAILED")


def _root() -> Path:
    """Return the root of the project that the run is in, or, in a worker that was started elsewhere, of the one that
    this file is in."""
    try:
        return project_root()
    except UserError:
        return Path(__file__).parents[1]
