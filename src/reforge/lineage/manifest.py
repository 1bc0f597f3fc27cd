"""The manifest of a stage: what it ran on (code, values, data, environment, machine), and the fingerprint that names
its inputs.

`.runs/STAGE/manifest.json` is an in-toto statement with SLSA v1 provenance: about as far as training on one's own
machines honestly reaches is level 1 of SLSA, so it claims no more.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from reforge.errors import UserError
from reforge.files.jsonfile import read_json
from reforge.files.tensors import weight_digests

_NO_CODE = ("params.yaml", "dvc.lock", "verified.json")  # the digests of these are recorded beside the code's
_CODE = ("src", "conf", "flows")
_DVC = "dvc_md5"  # a file's md5; a folder's is that of the list of its files' md5s
_TENSORS = "tensors_sha256"


@dataclass(frozen=True)
class Ran:
    """A finished stage. `deps` and `outs` are digests as in dvc.lock, `facts` what else its result may depend on,
    `began` and `ended` seconds since 1970."""

    stage: str
    params: dict[str, Any]
    deps: dict[str, str]
    outs: dict[str, str]
    facts: dict[str, Any]
    mlflow_run_id: str
    began: float
    ended: float


def statement(ran: Ran) -> dict[str, Any]:
    """Return an in-toto statement v1 (https://in-toto.io/Statement/v1) whose predicate is SLSA provenance v1."""
    sha = ran.facts["code"]["sha"]
    commit = [{"name": "code", "digest": {"gitCommit": sha}}] if sha else []
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [*_described(_DVC, ran.outs), *_described(_TENSORS, weight_digests(map(Path, ran.outs)))],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:reforge:stage:v1",
                "externalParameters": {"stage": ran.stage, "params": ran.params},
                "internalParameters": ran.facts,
                "resolvedDependencies": [*commit, *_described(_DVC, ran.deps)],
            },
            "runDetails": {
                "builder": {"id": "urn:reforge:run_stage", "version": {"reforge": version("reforge")}},
                "metadata": {
                    "invocationId": ran.mlflow_run_id,
                    "startedOn": _utc(ran.began),
                    "finishedOn": _utc(ran.ended),
                },
                "byproducts": [{"name": "machine", "annotations": machine()}],
            },
        },
    }


@dataclass(frozen=True)
class Manifest:
    """The parts of a manifest that others ask for; all are empty where there is none."""

    outs: dict[str, str]
    weights: dict[str, str]
    deps: dict[str, str]
    params: dict[str, Any]
    facts: dict[str, Any]
    machine: dict[str, Any]
    mlflow_run_id: str


def read(stage: str, root: Path) -> Manifest:
    """Return the manifest of a stage's last run in this workspace. Raises UserError where it is broken."""
    path = root / ".runs" / stage / "manifest.json"
    if not path.is_file():
        return Manifest({}, {}, {}, {}, {}, {}, "")
    remedy = f"Delete it, and {stage} counts as made elsewhere until it runs again"
    found = read_json(path, remedy)
    if "predicate" not in found:  # written before manifests were statements
        return Manifest({}, {}, {}, {}, {}, {}, "")
    try:
        definition, details = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
        return Manifest(
            outs=_digests(_DVC, found["subject"]),
            weights=_digests(_TENSORS, found["subject"]),
            deps=_digests(_DVC, definition["resolvedDependencies"]),
            params=definition["externalParameters"]["params"],
            facts=definition["internalParameters"],
            machine=details["byproducts"][0]["annotations"],
            mlflow_run_id=details["metadata"]["invocationId"],
        )
    except (KeyError, IndexError, TypeError) as error:
        raise UserError(f"{path} is no manifest any more: it lacks {error}. {remedy}.") from error


def _described(kind: str, digests: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": path, "digest": {kind: digest}} for path, digest in digests.items()]


def _digests(kind: str, described: list[dict[str, Any]]) -> dict[str, str]:
    return {item["name"]: item["digest"][kind] for item in described if kind in item["digest"]}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fingerprint(stage: str, params: dict[str, Any], digests: dict[str, str]) -> str:
    """Return a digest that is equal exactly when the stage's declared inputs are: resumable state under a different one
    is not this run's."""
    text = json.dumps([stage, params, digests], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def code_version() -> dict[str, Any]:
    """Return the git commit, whether the code here differs from it (files that were never added count), and then a
    digest of how. Outside of git or before a first commit the commit is empty and the code counts as different."""
    sha = _git("rev-parse", "--verify", "--quiet", "HEAD")
    if not sha:
        return {"sha": "", "dirty": True, "diff": ""}
    diff = _git("diff", "--binary", "HEAD", "--", ":/", *(f":(top,exclude){name}" for name in _NO_CODE))
    new = _git("ls-files", "--others", "--exclude-standard", "--", *(f":(top){folder}" for folder in _CODE))
    other = f"{diff}\n{new}".strip()
    return {"sha": sha, "dirty": bool(other), "diff": hashlib.sha256(other.encode()).hexdigest() if other else ""}


def machine() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": _threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
        "python": sys.version.split()[0],
        "interpreter": sys.executable,
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}" if "diff" in arguments else ""
    if done.returncode and "diff" in arguments:
        return f"unknown: {done.stderr}"  # so it counts as different from what was committed
    return done.stdout.strip()


def _threads() -> int:
    """Return how many threads one operation of this process may use."""
    return int(sys.modules["torch"].get_num_threads()) if "torch" in sys.modules else 1


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
