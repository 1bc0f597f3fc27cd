"""The RL loop: GRPO+ on one context rung, synchronous.

What differs from DeepCoder's release: the clipping is effective, truncated rollouts leave the group statistics and
the token count as well as the loss, and the loss is a mean over all trained tokens of the update, not per micro-batch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from reforge.advantages import group_normalised
from reforge.batches import Batch, Row, build_batch
from reforge.config import Rl, Rung
from reforge.errors import UserError
from reforge.losses import grpo_plus
from reforge.policy.learner import Learner
from reforge.rollouts.sampler import Sampler, Sampling
from reforge.rollouts.store import to_row, write_rows
from reforge.training.handover import hand_over
from reforge.training.scoring import score_as_they_finish
from reforge.types import Group, Prompt, Reward, Rollout

_CANARIES = 4


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
    micro_batch_tokens: int
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

        advantages = [group_advantages(group, config.overlong_filter) for group in groups]
        metrics = rollout_metrics(groups, advantages)
        check_truncation(metrics["truncated"], config.max_truncated, step)
        metrics |= update(run, groups, advantages)
        clock.lap("train")

        canaries = [
            (*rollout.prompt_ids, *rollout.token_ids) for rollout in (group.rollouts[0] for group in groups[:_CANARIES])
        ]
        metrics["parity/max_abs"] = hand_over(
            run.learner, run.sampler, run.weights_folder, run.sampler.policy_version + 1, canaries, run.parity_tolerance
        )
        clock.lap("weight_sync")

        write_rows(run.rollouts_folder / f"step-{step:05d}.parquet", _rows(step, groups, advantages))
        run.after_step(step, metrics, clock.laps)


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


def group_advantages(group: Group, overlong_filter: bool) -> list[float | None]:
    """One advantage per rollout; None where it is not trained on: an infrastructure failure, a truncated rollout
    under the overlong filter, or a group that teaches nothing. The first two leave the group's statistics too."""
    counted = [
        number
        for number, (rollout, reward) in enumerate(zip(group.rollouts, group.rewards, strict=True))
        if reward.value is not None and not (overlong_filter and rollout.truncated)
    ]
    rewards_G = [value for number in counted if (value := group.rewards[number].value) is not None]
    advantages_G = group_normalised(rewards_G)
    result: list[float | None] = [None] * len(group.rollouts)
    if advantages_G is not None:
        for number, advantage in zip(counted, advantages_G, strict=True):
            result[number] = advantage
    return result


def update(run: Run, groups: Sequence[Group], advantages: Sequence[Sequence[float | None]]) -> dict[str, float]:
    """`rl.updates` optimiser steps over equal shares of the groups; metrics are means over all trained tokens."""
    share = len(groups) // run.config.updates
    pad_id = run.learner.tokenizer.pad_token_id
    batches = []
    for first in range(0, len(groups), share):
        rows = _trained_rows(groups[first : first + share], advantages[first : first + share])
        if rows:
            batches.append(build_batch(rows, run.micro_batch_tokens, pad_id))
    # The first update is on-policy by construction; later ones need the log-probs from before it.
    old = [None, *[_old_logprobs(run, batch) for batch in batches[1:]]]
    totals: dict[str, float] = {}
    norms = []
    for batch, old_logprobs in zip(batches, old[: len(batches)], strict=True):
        _accumulate(totals, _optimise(run, batch, old_logprobs))
        norms.append(run.learner.step(run.config.learning_rate))
    tokens = sum(batch.tokens for batch in batches)
    return {
        **{name: total / tokens for name, total in totals.items()},
        "grad_norm": sum(norms) / len(norms) if norms else 0.0,
        "tokens/trained": float(tokens),
        "updates": float(len(batches)),
    }


def _optimise(run: Run, batch: Batch, old: list[torch.Tensor] | None) -> dict[str, float]:
    """Accumulate the gradient of one update; metrics are sums over its tokens."""
    config = run.config
    totals: dict[str, float] = {}
    for number, micro in enumerate(batch.micro_batches):
        logprobs_N, entropy_N = run.learner.logprobs(micro.ids_BT, micro.mask_BT, config.temperature)
        old_N = logprobs_N.detach() if old is None else old[number]
        device = logprobs_N.device
        loss, metrics = grpo_plus(
            logprobs_N, old_N, micro.advantages_N.to(device), config.clip_low, config.clip_high, batch.tokens
        )
        run.learner.backward(loss, last=number == len(batch.micro_batches) - 1)
        metrics["loss"] = float(loss.detach()) * batch.tokens
        metrics["entropy"] = float(entropy_N.sum())
        metrics["kl/sampler_learner"] = float((micro.sampler_logprobs_N.to(device) - old_N).sum())
        _accumulate(totals, metrics)
    return totals


@torch.no_grad()
def _old_logprobs(run: Run, batch: Batch) -> list[torch.Tensor]:
    temperature = run.config.temperature
    return [run.learner.logprobs(micro.ids_BT, micro.mask_BT, temperature)[0] for micro in batch.micro_batches]


def rollout_metrics(groups: Sequence[Group], advantages: Sequence[Sequence[float | None]]) -> dict[str, float]:
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    values = [reward.value for group in groups for reward in group.rewards if reward.value is not None]
    solved = [[reward.value == 1.0 for reward in group.rewards] for group in groups]
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    return {
        "reward/mean": sum(values) / len(values) if values else 0.0,
        "reward/solved_all": sum(all(group) for group in solved) / len(groups),
        "reward/solved_none": sum(not any(group) for group in solved) / len(groups),
        "length/mean": sum(lengths) / len(lengths),
        "length/max": float(max(lengths)),
        "truncated": sum(rollout.truncated for rollout in rollouts) / len(rollouts),
        "infra": float(len(rollouts) - len(values)),
        "groups/dropped": float(sum(all(value is None for value in group) for group in advantages)),
        "tokens/sampled": float(sum(lengths)),
    }


def check_truncation(truncated: float, limit: float, step: int) -> None:
    """With overlong filtering rambling costs nothing, so a collapse to it must be stopped by someone."""
    if truncated > limit:
        raise UserError(
            f"Step {step}: {truncated:.0%} of the rollouts hit the rung's max_tokens, more than rl.max_truncated = "
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


def _trained_rows(groups: Sequence[Group], advantages: Sequence[Sequence[float | None]]) -> list[Row]:
    return [
        Row(rollout.prompt_ids, rollout.token_ids, advantage, rollout.logprobs)
        for group, values in zip(groups, advantages, strict=True)
        for rollout, advantage in zip(group.rollouts, values, strict=True)
        if advantage is not None
    ]


def _rows(step: int, groups: Sequence[Group], advantages: Sequence[Sequence[float | None]]) -> list[dict[str, object]]:
    return [
        to_row(rollout, reward, step, advantage)
        for group, values in zip(groups, advantages, strict=True)
        for rollout, reward, advantage in zip(group.rollouts, group.rewards, values, strict=True)
    ]


def _accumulate(totals: dict[str, float], more: dict[str, float]) -> None:
    for name, value in more.items():
        totals[name] = totals.get(name, 0.0) + value
