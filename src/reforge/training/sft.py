"""Supervised fine-tuning on (prompt, answer) rows: the cold start, and the student's distillation."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from reforge.config.training import Sft
from reforge.errors import UserError
from reforge.objective.learning_rate import learning_rate
from reforge.objective.losses import token_mean
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone
from reforge.training.update import agreement, imitate


def train(
    learner: Learner,
    rows: Sequence[Row],
    config: Sft,
    seed: int,
    rate_of: Callable[[int], float],
    after_step: Callable[[int, dict[str, float], dict[str, float]], bool],
    start: int = 0,
) -> None:
    """Run steps `start`+1 … `steps_of`, or as long as `after_step` returns True, with the learning rates that `rate_of`
    gives; the rows of a step depend on (seed, step) alone, so a resume is exact."""
    last = steps_of(config, len(rows))
    for step in range(start + 1, last + 1):
        began = time.perf_counter()
        chosen = [rows[place] for place in rows_of_step(config, len(rows), step, seed)]
        weights = token_mean([len(row.token_ids) for row in chosen])
        weighted = [replace(row, token_weight=weight) for row, weight in zip(chosen, weights, strict=True)]
        batch = build_batch(weighted, learner.config.micro_batch_tokens, learner.replicas)
        rate = rate_of(step)
        loss, norm = everyone(imitate, learner, batch, rate)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"Step {step}: the loss is {loss:g} and its gradient's norm {norm:g}. The policy is as it was before "
                "the step: lower the learning rate, or look for the row that does it."
            )
        metrics = {"loss": loss, "grad_norm": norm, "learning_rate": rate, "tokens/trained": float(batch.tokens)}
        if not after_step(step, metrics, {"seconds/train": time.perf_counter() - began}):
            return


def validate(learner: Learner, rows: Sequence[Row]) -> dict[str, float]:
    """Return, over all tokens of answers that are not trained on, the mean negative log-likelihood and the mean
    probability, which is the share of tokens that a sampler would draw right, each after the right ones before."""
    weights = token_mean([len(row.token_ids) for row in rows])
    weighted = [replace(row, token_weight=weight) for row, weight in zip(rows, weights, strict=True)]
    batch = build_batch(weighted, learner.config.micro_batch_tokens, learner.replicas)
    loss, accuracy = everyone(agreement, learner, batch)
    return {"validation/loss": loss, "validation/accuracy": accuracy}


def best_step(accuracies: Mapping[int, float]) -> int:
    """Return the first step with the greatest accuracy; 0 where none was measured."""
    return max(accuracies, key=accuracies.__getitem__, default=0)


def cooling(config: Sft, accuracies: Mapping[int, float]) -> range | None:
    """Return the steps in which the learning rate falls: those after the first `patience` measurements in a row without
    a new best. None before that, and without validation."""
    validation, best, without = config.validation, -math.inf, 0
    if validation is None:
        return None
    for step, accuracy in accuracies.items():
        best, without = (accuracy, 0) if accuracy > best else (best, without + 1)
        if without == validation.patience:
            return range(step + 1, step + 1 + validation.cooling)
    return None


def ended(config: Sft, accuracies: Mapping[int, float], step: int) -> bool:
    """Return whether nothing is left to do after `step`: validation has said that it is enough, and it has cooled."""
    steps = cooling(config, accuracies)
    return steps is not None and step + 1 >= steps.stop


def rate_of_step(config: Sft, accuracies: Mapping[int, float], step: int, last: int) -> float:
    """Return the learning rate of a step: the schedule's, which falls further, in proportion, while it cools."""
    rate = learning_rate(config.learning_rate, config.warmup_steps, config.decay, config.floor, step, last)
    steps = cooling(config, accuracies)
    return rate if steps is None else learning_rate(rate, 0, "linear", config.floor, step + 1 - steps.start, len(steps))


def steps_of(config: Sft, rows: int) -> int:
    """Return how many steps there are; the last of each pass takes what is left of it."""
    return config.steps if config.steps is not None else (config.epochs or 1) * math.ceil(rows / config.batch)


def rows_of_step(config: Sft, rows: int, step: int, seed: int) -> list[int]:
    """Return the places of a step's rows: drawn with replacement, or the next of a pass without."""
    if config.epochs is None:
        return random.Random(f"{seed}/{step}").choices(range(rows), k=config.batch)
    number, position = divmod(step - 1, math.ceil(rows / config.batch))
    order = random.Random(f"{seed}/pass/{number}").sample(range(rows), rows)
    return order[position * config.batch : (position + 1) * config.batch]
