"""Supervised fine-tuning on (prompt, answer) rows: the cold start, and the student's distillation."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from reforge.batches import Row, build_batch
from reforge.config import Sft
from reforge.errors import UserError
from reforge.losses import negative_log_likelihood
from reforge.policy.learner import Learner


def train(
    learner: Learner,
    rows: Sequence[Row],
    config: Sft,
    micro_batch_tokens: int,
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
        batch = build_batch(chosen, micro_batch_tokens, learner.tokenizer.pad_token_id)
        total = 0.0
        for number, micro in enumerate(batch.micro_batches, start=1):
            logprobs_N, _ = learner.logprobs(micro.ids_BT, micro.mask_BT)
            loss = negative_log_likelihood(logprobs_N, batch.tokens)
            learner.backward(loss, last=number == len(batch.micro_batches))
            total += float(loss.detach())
        norm = learner.step(config.learning_rate * min(1.0, step / max(1, config.warmup_steps)))
        metrics = {"loss": total, "grad_norm": norm, "tokens/trained": float(batch.tokens)}
        after_step(step, metrics, {"seconds/train": time.perf_counter() - began})
