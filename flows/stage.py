"""One stage of DVC's graph, run by `dvc repro -s` in its own processes: DVC decides whether it has to run at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.console import last_paragraph, relay
from flows.leash import leashed
from reforge.errors import InfrastructureError, UserError

LOCK_ATTEMPTS, LOCK_SECONDS = 30, 2.0
_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """How a stage was brought up to date. `ran`: DVC ran it; `cached`: DVC restored the outputs of an earlier equal
    run; `unchanged`: they were already there."""

    stage: str
    status: Literal["ran", "cached", "unchanged"]
    seconds: float


def reproduce(name: str, log: Callable[[str], None], force: bool = False) -> Outcome:
    """Have DVC bring the stage `name` up to date. Raises InfrastructureError where trying again may help, UserError
    where it does not."""
    started = time.monotonic()
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), name]
    for _ in range(LOCK_ATTEMPTS):
        code, lines = _run(command, log)
        if code and any("Unable to read RWLock-file" in line for line in lines):
            mend_rwlock(Path())  # a stage beside this one may have just done so
            continue
        if code == 0 or not any("Unable to acquire lock" in line for line in lines):
            break
        time.sleep(LOCK_SECONDS)  # another DVC command holds the repository for a moment
    if code:
        raise _failure(name, code, lines)
    return Outcome(name, _status(lines), time.monotonic() - started)


def named(edges: dict[str, list[str]], targets: list[str]) -> set[str]:
    """Return the stages that `targets` name: `rl` means every `rl@…`, no targets mean all. Raises UserError for an
    unknown one."""
    meant = {target: {name for name in edges if target in (name, name.partition("@")[0])} for target in targets}
    if lost := [target for target, names in meant.items() if not names]:
        raise UserError(f"There is no stage {', '.join(lost)}; dvc.yaml has {', '.join(edges)}.")
    return set().union(*meant.values()) if targets else set(edges)


def mend_rwlock(root: Path) -> None:
    """Delete DVC's list of who reads and writes what (`rwlock`) if it is broken: DVC writes it in place, so a kill
    meanwhile leaves a broken file, which DVC refuses from then on. Call this only where DVC has reported the file or no
    DVC runs, as one that runs may be writing it."""
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_text())
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink(missing_ok=True)


def forget_progress(name: str) -> None:
    """Remove the scratch folders of the stage `name`: `dvc repro --force` alone would resume from what an interrupted
    run has left."""
    for scratch in Path(".scratch").glob(f"{name}-*"):
        shutil.rmtree(scratch)


def end_all() -> None:
    """End the stages that are running, with all their processes."""
    with _guard:
        for process in _running:
            process.terminate()


def _run(command: list[str], log: Callable[[str], None]) -> tuple[int, list[str]]:
    # Find `dvc` and `reforge` of this environment, also where nobody has activated it
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
    with leashed(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        assert process.stdout
        with _guard:
            _running.add(process)
        try:
            lines = relay(process.stdout, log)
        finally:
            with _guard:
                _running.discard(process)
    return process.returncode, lines


def _status(lines: list[str]) -> Literal["ran", "cached", "unchanged"]:
    text = "\n".join(lines)
    if "is cached - skipping run" in text:
        return "cached"
    return "unchanged" if "didn't change, skipping" in text else "ran"


def _failure(name: str, code: int, lines: list[str]) -> Exception:
    """Return the error to raise for a failed stage: InfrastructureError where it was killed from outside or reports one
    itself by its exit code, as it then failed for no reason of its own; else UserError."""
    exited = re.search(r"failed to run: .*, exited with (-?\d+)", "\n".join(lines))
    stage_code = int(exited.group(1)) if exited else code
    message = f"Stage {name} failed: {last_paragraph(lines) or f'exit code {stage_code}, nothing said'}"
    if stage_code == InfrastructureError.exit_code or stage_code < 0 or stage_code == 128 + 9:
        return InfrastructureError(message)
    return UserError(message)
