"""What a stage does so that it comes out the same again; `determinism` in conf/ says how far it goes.

`fast` seeds. `strict` also forbids operations whose sums depend on the order of threads, and has GPU libraries take
kernels that give equal results for equal inputs, whatever else is in the batch. On a CPU both give the same bits.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys

from reforge.config import Determinism

_STRICT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "NCCL_ALGO": "Ring"}


def make_deterministic(seed: int, profile: Determinism) -> None:
    """Seed the global generators of what the process has imported (libraries of ours take the seed explicitly); with
    `strict` also for the servers that it will start."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        torch, strict = sys.modules["torch"], profile == "strict"
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(strict)
        if strict:
            os.environ.update(_STRICT)
        if strict and torch.cuda.is_available():
            os.environ["VLLM_BATCH_INVARIANT"] = "1"  # these kernels are for GPUs only; a CPU's need no others


def seed_of(seed: int, name: str) -> int:
    """Different for each stage, below 2**31 for every library's sake."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4]) >> 1
