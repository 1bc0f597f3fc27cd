"""A small policy and rows to train it on, for the tests of the learner."""

from pathlib import Path
from typing import Any

import torch

from reforge.config.policy import Architecture, LearnerConfig
from reforge.config.training import Guards, Loss
from reforge.objective.losses import token_weights
from reforge.policy.batches import Row
from reforge.policy.learner import Learner, open_learner
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.training.update import Objective

VOCABULARY = 256  # ids below it exist
ARCHITECTURE = Architecture(
    family="qwen2", hidden_size=64, intermediate_size=128, layers=2, heads=2, kv_heads=1, context=256,
    extra={"tie_word_embeddings": True},
)  # fmt: skip
LEARNER: dict[str, Any] = {
    "ranks": 1, "nodes": 1, "rendezvous": "", "sequence_parallel": 1, "zero_stage": 0, "offload": False,
    "activation_checkpointing": False, "dtype": "float32", "threads": 1, "micro_batch_tokens": 96,
    "gradient_clip": 1.0, "betas": [0.9, 0.95], "weight_decay": 0.01, "lora": None, "checkpoints": 2,
}  # fmt: skip
LOSS: dict[str, Any] = {
    "mean": "token", "constant_length": None, "ratio": "token", "clip_low": 0.2, "clip_high": 0.28, "dual_clip": None,
    "correction": None, "kl": None, "entropy": 0.0,
}  # fmt: skip
GUARDS = Guards(truncated=1.0, ratio=1e6, gap=1e6, bad_update="skip", nothing_to_learn="skip")


def new_policy(folder: Path, architecture: Architecture = ARCHITECTURE) -> Path:
    tokenizer = train_tokenizer(["def solve(x):\n    return x\n"] * 3, 300)
    save_model(new_model(architecture, tokenizer, seed=0), tokenizer, folder)
    return folder


def open_policy(folder: Path, reference: bool = False, **learner: Any) -> Learner:
    return open_learner(folder, LearnerConfig(**(LEARNER | learner)), 0, reference)


def objective(learning_rate: float = 1e-3, temperature: float = 0.9, **loss: Any) -> Objective:
    return Objective(Loss(**(LOSS | loss)), temperature, learning_rate, 1.0, GUARDS)


def rows(seed: int, loss: Loss | None = None) -> list[Row]:
    """Long-tailed lengths; a quarter of the advantages are 0 and a quarter negative. Those of 0 are left out where
    nothing acts on them, and counted in any case."""
    loss = loss or Loss(**LOSS)
    generator = torch.Generator().manual_seed(seed)

    def some(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, VOCABULARY, (count,), generator=generator).tolist())

    lengths = [3, 5, 2, 40, 7, 5, 5, 11, 70, 1, 4, 9]
    advantages = [1.0, 0.5, 0.0, -1.0, 0.7, 0.0, -0.3, 1.2, 0.4, -0.8, 0.0, 0.2]
    made = [
        Row(some(2 + number % 3), some(length), share, advantage, tuple([-5.0] * length))
        for number, (length, share, advantage) in enumerate(
            zip(lengths, token_weights(lengths, loss), advantages, strict=True)
        )
    ]
    return [row for row in made if row.advantage or loss.kl or loss.entropy]
