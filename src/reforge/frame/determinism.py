"""Make a stage come out the same again; `determinism` in conf/ says how far this goes.

`fast` seeds the generators. `strict` also forbids operations whose sums depend on the order of threads, and has GPU
libraries take kernels that give equal results for equal inputs, whatever else is in the batch; on a CPU also whatever
the number of threads is. With one thread on a CPU both give the same bits.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys

from reforge.config import Determinism

_STRICT = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "NCCL_ALGO": "Ring",
    "VLLM_CPU_ATTN_SPLIT_KV": "0",  # else idle threads share the keys of a row
}


def make_deterministic(seed: int, profile: Determinism) -> None:
    """Seed the global generators of what the process has imported (libraries of ours take the seed explicitly); with
    `strict` also for the servers that it will start."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    strict = profile == "strict"
    if strict:
        os.environ.update(_STRICT)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(strict)
        if strict and torch.cuda.is_available():
            os.environ["VLLM_BATCH_INVARIANT"] = "1"  # such kernels exist for GPUs only; on a CPU none are needed


def seed_of(seed: int, name: str) -> int:
    """Return a seed that is different for each stage; it is below 2**31 for every library's sake."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4]) >> 1
