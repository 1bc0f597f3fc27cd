"""TRL's GRPOTrainer, for those who compare themselves with it: on CPU, in float32, on a checkpoint of ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reforge.policy.folder import load_tokenizer
from reforge.policy.model import load_model


def new_trainer(
    folder: Path, reward: Callable[..., list[float]] | None = None, prompt: str = "x", **settings: Any
) -> Any:
    """Return a trainer of the model in `folder`; `settings` are GRPOConfig's. Without a `reward` all rewards are 0: the
    caller gives it completions and advantages in place of sampling them."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(prefix="reforge-trl-"),
        use_cpu=True,
        bf16=False,
        report_to=[],
        **({"gradient_checkpointing": False} | settings),
    )
    trainer: Any = GRPOTrainer(
        model=load_model(folder),
        reward_funcs=reward or (lambda completions, **_: [0.0] * len(completions)),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": [prompt] * 64}),
        processing_class=load_tokenizer(folder),
    )
    trainer.current_gradient_accumulation_steps = 1  # what its loop sets, for those who call the loss by hand
    return trainer
