"""Supervised fine-tuning on (prompt, answer) rows: the cold start, and the student's distillation."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from reforge.config.training import Sft
from reforge.errors import UserError
from reforge.objective.learning_rate import learning_rate
from reforge.objective.losses import token_mean
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone
from reforge.training.update import imitate


def train(
    learner: Learner,
    rows: Sequence[Row],
    config: Sft,
    seed: int,
    after_step: Callable[[int, dict[str, float], dict[str, float]], None],
    start: int = 0,
) -> None:
    """Run steps `start`+1 … `config.steps`; the rows of a step depend on (seed, step) alone, so a resume is exact."""
    if not rows:
        raise UserError("No rows to fine-tune on: the training set has no worked solutions. Check the curate stage.")
    for step in range(start + 1, config.steps + 1):
        began = time.perf_counter()
        chosen = random.Random(f"{seed}/{step}").choices(rows, k=config.batch)
        weights = token_mean([len(row.token_ids) for row in chosen])
        weighted = [replace(row, weight=weight) for row, weight in zip(chosen, weights, strict=True)]
        batch = build_batch(weighted, learner.config.micro_batch_tokens, learner.replicas)
        rate = learning_rate(config.learning_rate, config.warmup_steps, config.decay, step, config.steps)
        loss, norm = everyone(imitate, learner, batch, rate)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"Step {step}: the loss is {loss:g} and its gradient's norm {norm:g}. The policy is as it was before "
                "the step: lower the learning rate, or look for the row that does it."
            )
        metrics = {"loss": loss, "grad_norm": norm, "learning_rate": rate, "tokens/trained": float(batch.tokens)}
        after_step(step, metrics, {"seconds/train": time.perf_counter() - began})
