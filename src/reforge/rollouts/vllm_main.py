"""Entry point of the vLLM child process: it dies with its parent, then hands over to vLLM's own server."""

from __future__ import annotations

import ctypes
import gc
import runpy
import signal
import warnings

_PR_SET_PDEATHSIG = 1

gc.set_threshold(50_000)  # the engine's process imports this, too: a sixth of its start was looking for garbage

if __name__ == "__main__":
    # A stage that is killed outright cannot stop its server; the kernel does (Linux).
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # `vllm serve` fails with the CPU wheel, whose distribution has a different name; the module works.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
