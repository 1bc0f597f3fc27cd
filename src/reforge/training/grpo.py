"""The RL loop: GRPO+ on one context rung, synchronous.

What differs from DeepCoder's release: the clipping is effective, truncated rollouts leave the group statistics and
the token count as well as the loss (`rl.overlong`), and the loss is a mean over all tokens of the update, those of
groups that teach nothing included, not per micro-batch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reforge.batches import Batch, Row, build_batch
from reforge.config.training import Rl, Rung
from reforge.errors import UserError
from reforge.losses import weights
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone
from reforge.rollouts.sampler import Sampler, Sampling
from reforge.rollouts.store import to_row, write_rows
from reforge.training.credit import group_advantages
from reforge.training.handover import hand_over
from reforge.training.observe import rollout_metrics
from reforge.training.rates import learning_rate
from reforge.training.scoring import score_as_they_finish
from reforge.training.update import Objective, update
from reforge.types import Group, Prompt, Reward, Rollout

_CANARIES = 4

Advantages = Sequence[Sequence[float | None]]  # of each group's rollouts


@dataclass(frozen=True)
class Run:
    """What a rung is trained with. `after_step(step, metrics, timings)` tracks and saves."""

    learner: Learner
    sampler: Sampler
    score: Callable[[Rollout], Reward]
    prompts: Sequence[Prompt]
    config: Rl
    rung: Rung
    seed: int
    parity_tolerance: float
    graders: int
    rollouts_folder: Path
    weights_folder: Path
    after_step: Callable[[int, dict[str, float], dict[str, float]], None]


def train(run: Run, start: int = 0) -> None:
    """Run steps `start`+1 … `rung.steps`. Everything random is a function of (seed, step): a resume is exact."""
    config = run.config
    sampling = Sampling(config.temperature, 1.0, run.rung.max_tokens)
    for step in range(start + 1, run.rung.steps + 1):
        clock = Clock()
        prompts = prompts_of_step(run.prompts, config.batch, step, run.seed if config.order == "shuffled" else None)
        rollouts = run.sampler.sample(prompts, config.group_size, sampling, f"{run.seed}/{step}")
        groups = score_as_they_finish(rollouts, run.score, prompts, run.graders)
        clock.lap("sample_and_grade")

        advantages = [group_advantages(group, config.advantage, config.overlong, run.rung) for group in groups]
        metrics = rollout_metrics(groups, advantages)
        check_truncation(metrics["truncated"], config.guards.truncated, step)
        metrics |= learn(run, groups, advantages, step)
        clock.lap("train")

        canaries = [
            (*rollout.prompt_ids, *rollout.token_ids) for rollout in (group.rollouts[0] for group in groups[:_CANARIES])
        ]
        metrics["parity/max_abs"] = hand_over(
            run.learner, run.sampler, run.weights_folder, run.sampler.policy_version + 1, canaries, run.parity_tolerance
        )
        clock.lap("weight_sync")

        write_rows(run.rollouts_folder / f"step-{step:05d}.parquet", _rows(step, groups, advantages))
        timings = clock.laps | {"tokens_per_second": metrics["tokens/sampled"] / sum(clock.laps.values())}
        run.after_step(step, metrics, timings | {"memory/peak_gib": run.learner.peak_memory()})


def prompts_of_step(prompts: Sequence[Prompt], batch: int, step: int, seed: int | None) -> list[Prompt]:
    """Steps walk through one pass over the problems after another, each shuffled anew unless `seed` is None; no problem
    twice within a step.
    """
    if len(prompts) < batch:
        raise UserError(f"rl.batch is {batch} prompts a step but there are only {len(prompts)} training problems")
    steps_per_pass = len(prompts) // batch
    number, position = divmod(step - 1, steps_per_pass)
    order = list(prompts)
    if seed is not None:
        random.Random(f"{seed}/pass/{number}").shuffle(order)
    return order[position * batch : (position + 1) * batch]


def learn(run: Run, groups: Sequence[Group], advantages: Advantages, step: int) -> dict[str, float]:
    """`rl.updates` optimiser steps over equal shares of the groups."""
    config, learner = run.config, run.learner
    share = len(groups) // config.updates
    cuts = [slice(first, first + share) for first in range(0, len(groups), share)]
    batches = [batch for cut in cuts if (batch := batch_of(groups[cut], advantages[cut], config, learner)) is not None]
    rate = learning_rate(config.learning_rate, config.warmup_steps, config.decay, step, run.rung.steps)
    if len(batches) < len(cuts) and config.guards.nothing_to_learn == "stop":
        raise UserError(
            f"Step {step}: all rollouts of a group have the same reward, in every group of an update, so there is "
            "nothing to learn. Choose problems that the policy solves now and then (problems.pass_rates), a larger "
            "rl.group_size, or rl.guards.nothing_to_learn=skip."
        )
    clip = learner.config.gradient_clip
    objective = Objective(config.loss, config.temperature, rate, clip, config.guards)
    metrics, bad = everyone(update, learner, batches, objective)
    if bad and config.guards.bad_update == "stop":
        raise UserError(
            f"Step {step}: {bad[0]}. That update was not made: lower rl.learning_rate or learner.gradient_clip, "
            "or let such updates be skipped and counted (rl.guards.bad_update=skip)."
        )
    skipped = {"updates/empty": float(len(cuts) - len(batches)), "updates/bad": float(len(bad))}
    return {**metrics, **skipped, "learning_rate": rate}


def batch_of(groups: Sequence[Group], advantages: Advantages, config: Rl, learner: Learner) -> Batch | None:
    """The rollouts of an update that a gradient comes from, each weighted by the mean over all that count; None where
    there are none. What has no advantage is not counted; an advantage of 0 is, and needs no forward pass unless KL or
    entropy act on it.
    """
    counted = [
        (rollout, advantage)
        for group, values in zip(groups, advantages, strict=True)
        for rollout, advantage in zip(group.rollouts, values, strict=True)
        if advantage is not None
    ]
    shares = weights([len(rollout.token_ids) for rollout, _ in counted], config.loss) if counted else []
    everywhere = config.loss.kl is not None or config.loss.entropy > 0
    rows = [
        Row(rollout.prompt_ids, rollout.token_ids, weight, advantage, rollout.logprobs)
        for (rollout, advantage), weight in zip(counted, shares, strict=True)
        if advantage or everywhere
    ]
    return build_batch(rows, learner.config.micro_batch_tokens, learner.replicas) if rows else None


def check_truncation(truncated: float, limit: float, step: int) -> None:
    """With overlong filtering rambling costs nothing, so a collapse to it must be stopped by someone."""
    if truncated > limit:
        raise UserError(
            f"Step {step}: {truncated:.0%} of the rollouts hit the rung's max_tokens, more than rl.guards.truncated = "
            f"{limit:.0%}. The policy has collapsed to rambling, or the rung is too short for these problems: raise "
            "the rung's max_tokens, lower rl.learning_rate, or give the cold start more steps."
        )


class Clock:
    """Seconds of each phase of a step."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.laps[f"seconds/{phase}"] = now - self._last
        self._last = now


def _rows(step: int, groups: Sequence[Group], advantages: Advantages) -> list[dict[str, object]]:
    return [
        to_row(rollout, reward, step, advantage)
        for group, values in zip(groups, advantages, strict=True)
        for rollout, reward, advantage in zip(group.rollouts, group.rewards, values, strict=True)
    ]
