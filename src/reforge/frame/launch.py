"""Launch several ranks: this process becomes their launcher (torchrun's own agent), and each of them runs the same."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from reforge.config.policy import LearnerConfig
from reforge.errors import InfrastructureError
from reforge.machine import process


def needed(config: LearnerConfig) -> bool:
    """Return whether ranks are still to be started; under torchrun they have been."""
    return config.ranks * config.nodes > 1 and process.rank() is None


def launch(config: LearnerConfig, command: Sequence[str], node: int = 0) -> None:
    """Run `reforge COMMAND` on this machine's ranks until all have ended. Exits with the code of the first that
    failed, if it gave one; raises InfrastructureError with the cause if it was killed.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    cores = len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = str(config.threads or max(1, cores // config.ranks))
    several = config.nodes > 1
    settings = LaunchConfig(
        min_nodes=config.nodes,
        max_nodes=config.nodes,
        nproc_per_node=config.ranks,
        run_id=command[1],
        rdzv_backend="static" if several else "c10d",
        rdzv_endpoint=config.rendezvous if several else "127.0.0.1:0",
        rdzv_configs={"rank": node},
        max_restarts=0,  # a restart begins with DVC, from the last checkpoint
        monitor_interval=0.2,
    )
    run: Any = elastic_launch(settings, sys.executable)
    try:
        run("-m", "reforge.cli.main", *command)
    except SignalException as error:
        sys.exit(128 + error.sigval)  # the code of a process that a signal has ended
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            sys.exit(failure.exitcode)
        raise InfrastructureError(
            f"Rank {rank} of stage {command[1]!r} (process {failure.pid}) was ended by "
            f"{signal.Signals(-failure.exitcode).name}, and the other ranks were stopped. Finished steps are kept: "
            "start the stage again, and it resumes from its last checkpoint."
        ) from error
