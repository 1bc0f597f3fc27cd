"""Entry point of the vLLM child process: it dies with its parent, then hands over to vLLM's own server."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import runpy
import signal
import warnings

_PR_SET_PDEATHSIG = 1

gc.set_threshold(50_000)  # the engine's process imports this, too: a sixth of its start was looking for garbage


def _fork_on_cpu() -> None:
    """Let the engine's process start with the modules that this one has imported: it is ready 7 s sooner. vLLM itself
    forks on a GPU; on a CPU it always spawns, whatever its environment variable says."""
    from vllm.platforms import current_platform
    from vllm.utils import system_utils

    if current_platform.is_cpu():
        system_utils.get_mp_context = lambda: multiprocessing.get_context("fork")


if __name__ == "__main__":
    # A stage that is killed outright cannot stop its server; the kernel does (Linux).
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # `vllm serve` fails with the CPU wheel, whose distribution has a different name; the module works.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    _fork_on_cpu()
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
