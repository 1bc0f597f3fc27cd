"""How long do the weights of 1.5 billion parameters take from one process to the sampler's, through this machine's
memory?   python -m benchmarks.pipelining.sync
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.policies import new_tokenizer
from benchmarks.record import claim, head, show, write
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.environments.template import Template
from reforge.policy.model import TokenLogprobs, new_model, save_model
from reforge.rollouts.sampler import Weights
from reforge.rollouts.server import open_sampler
from reforge.training.handover import sequence_logprobs

ROUNDS, STALENESS = 8, 1
CANARIES = [[5, 6, 7, 8, 9, 10, 11, 12]]
# Qwen2.5-1.5B's shape; a vocabulary of 151,936 is 233 million of its parameters.
SHAPE = ["family=qwen2", "hidden_size=1536", "intermediate_size=8960", "layers=28", "heads=12", "kv_heads=2",
         "context=256"]  # fmt: skip
GOAL = 5.0


def main() -> None:
    commit = head()
    overrides = [f"base.policy.architecture.{value}" for value in SHAPE]
    config = build_config(
        compose(["experiment=tiny", *overrides, "sampler.dtype=bfloat16", "sampler.parity_tolerance=0.2",
                 "sampler.threads=2"]), "b"
    )  # fmt: skip
    tokenizer = new_tokenizer(1024)
    torch.set_default_dtype(torch.bfloat16)
    model = new_model(config.base["policy"].architecture, tokenizer, 0).to(torch.bfloat16)
    model.resize_token_embeddings(151936)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    torch.set_default_dtype(torch.float32)
    policy = TokenLogprobs(model)
    runs = []
    with tempfile.TemporaryDirectory(prefix="reforge-sync-", dir="/dev/shm") as name:
        folder = Path(name)
        save_model(model, tokenizer, folder / "000000")
        decode = Template(tokenizer).decode
        with open_sampler(folder / "000000", config.sampler, decode, folder / "vllm.log") as sampler:
            for version in range(1, ROUNDS + 1):
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(1.0 + 2.0**-7)
                canaries, _ = sequence_logprobs(lambda inputs, temperature: policy(*inputs, temperature), CANARIES, 1.0)
                began = time.perf_counter()
                place = folder / f"{version:06d}"
                save_model(model, tokenizer, place, worn=folder / f"{version - STALENESS - 1:06d}")
                written = time.perf_counter()
                gap = sampler.load(Weights(version, place, CANARIES, canaries))
                runs.append({"write": written - began, "load and check": time.perf_counter() - written,
                             "pause": sampler.pause_seconds, "gap": gap})  # fmt: skip
    whole = statistics.median(run["write"] + run["load and check"] for run in runs)
    pause = statistics.median(run["pause"] for run in runs)
    text = f"{parameters / 1e9:.2f} billion bfloat16 parameters: written, loaded and checked"
    claims = [claim(text, whole, "s", f"≤ {GOAL:g}", whole <= GOAL), claim("of that the sampler pauses", pause, "s")]
    show(claims)
    write("pipelining_sync", claims, runs, commit)


if __name__ == "__main__":
    main()
