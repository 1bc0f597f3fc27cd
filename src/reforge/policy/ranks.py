"""One leader, many ranks: what rank 0 calls through `everyone`, all ranks do; between calls the others wait.

So a stage is written once, for one process: rank 0 samples, grades, tracks and decides, and only work on the policy is
shared. Orders travel over gloo, whatever the gradients use: nobody's patience ends while rank 0 samples for an hour.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from reforge.machine import process

_PATIENCE = timedelta(days=30)
_group: Any = None


def join() -> None:
    """Join the process group: that of torchrun, or a new one for a process that runs alone."""
    global _group
    if distributed.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if process.rank() is not None:
        distributed.init_process_group(backend)
        _group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        return
    os.environ.setdefault("LOCAL_RANK", "0")
    folder = tempfile.mkdtemp(prefix="reforge-")  # a file to meet at: no port to collide on
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # not earlier: torch comes back to it
    distributed.init_process_group(backend, init_method=f"file://{folder}/rendezvous", rank=0, world_size=1)


def everyone(work: Callable[..., Any], learner: Any, *args: Any) -> Any:
    """Call this on rank 0: do `work(learner, *args)` on every rank, each with its own learner, and return the result of
    rank 0."""
    _order((work, args))
    return work(learner, *args)


def lead(build: Callable[..., Any], *args: Any) -> Any:
    """Call this on rank 0: build a learner on every rank, and return rank 0's."""
    join()
    _order((build, args))
    return build(*args)


def dismiss() -> None:
    """Call this on rank 0 at the end: let the other ranks leave `follow`."""
    if distributed.is_initialized() and distributed.get_world_size() > 1:
        _order(None)
        distributed.barrier(group=_group)


def _order(what: tuple[Callable[..., Any], tuple[Any, ...]] | None) -> None:
    """Send an order to all ranks; None means that there is nothing more to do."""
    if distributed.get_world_size() > 1:
        distributed.broadcast_object_list([what], src=0, group=_group)


def follow() -> None:
    """Do what rank 0 orders until it dismisses this rank. Every other rank calls this."""
    join()
    learner = None
    while True:
        order: list[Any] = [None]
        distributed.broadcast_object_list(order, src=0, group=_group)
        if order[0] is None:
            distributed.barrier(group=_group)
            return
        work, args = order[0]
        if learner is None:
            learner = work(*args)
        else:
            work(learner, *args)
