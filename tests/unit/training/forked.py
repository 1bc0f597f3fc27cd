"""Ranks forked from one process that has imported everything: a second each, where a fresh interpreter takes seven."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

from reforge.machine.process import free_port

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}


def run(folder: Path, ranks: int, **spec: Any) -> dict[str, float]:
    """Train as `spec` says (ranks_main.main) on so many ranks, and return the metrics of the last update."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.training.ranks_main"])
    with mock.patch.dict(os.environ, ENVIRONMENT):  # torch reads them when it is imported
        forkserver.ensure_running()
    port, log = str(free_port()), folder / f"forked-{os.getpid()}.log"
    log.write_text("")
    group = [
        context.Process(target=_rank, args=(folder, spec, rank, ranks, port, log), daemon=True) for rank in range(ranks)
    ]
    for process in group:
        process.start()
    for process in group:
        process.join(1200)
    said = log.read_text()
    assert [process.exitcode for process in group] == [0] * ranks, said
    found = [line.partition("METRICS ")[2] for line in said.splitlines() if "METRICS " in line]
    return dict(json.loads(found[0])) if found else {}


def _rank(folder: Path, spec: dict[str, Any], rank: int, ranks: int, port: str, log: Path) -> None:
    """Be one rank, with the variables that torchrun gives to one."""
    from tests.unit.training import ranks_main

    if ranks > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_PORT": port}
        os.environ |= {"LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    with log.open("a", buffering=1) as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        ranks_main.run(folder, spec)
