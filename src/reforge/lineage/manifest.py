"""What a stage ran on: code, values, data, environment, machine; and the fingerprint that names its inputs."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil


def fingerprint(stage: str, params: dict[str, Any], digests: dict[str, str]) -> str:
    """Equal exactly when the stage's declared inputs are: resumable state under another one is not this run's."""
    text = json.dumps([stage, params, digests], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def code_version() -> dict[str, Any]:
    """The git commit and whether the working tree differs from it; empty outside of git or before a first commit."""
    sha = _git("rev-parse", "--verify", "--quiet", "HEAD")
    return {"sha": sha, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if sha else True}


def machine() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
        "python": sys.version.split()[0],
        "interpreter": sys.executable,
    }


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Whole or not at all, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(values, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(stage: str, root: Path) -> dict[str, Any]:
    """The manifest of a stage's last run in this workspace; empty if there was none."""
    path = root / ".runs" / stage / "manifest.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _gpus() -> list[str]:
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
