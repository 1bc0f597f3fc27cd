"""One step of learning: scored groups → the learner's next weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from reforge.config.training import Rl
from reforge.errors import UserError
from reforge.machine.project import command
from reforge.objective.learning_rate import learning_rate
from reforge.objective.losses import token_weights
from reforge.policy.batches import Batch, Row, build_batch
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone
from reforge.records import Group
from reforge.training.credit import group_advantages
from reforge.training.update import Objective, Unmade, update

log = logging.getLogger(__name__)

Advantages = Sequence[Sequence[float | None]]  # one for each rollout of each group


def advantages_of(groups: Sequence[Group], config: Rl) -> Advantages:
    return [group_advantages(group, config) for group in groups]


def learn(learner: Learner, config: Rl, groups: Sequence[Group], advantages: Advantages, step: int) -> dict[str, float]:
    """Make `rl.*.updates` optimiser steps over equal shares of the groups, and return their metrics. Raises UserError
    where a guard stops the run."""
    share = len(groups) // config.updates
    cuts = [slice(first, first + share) for first in range(0, len(groups), share)]
    batches = [batch for cut in cuts if (batch := batch_of(groups[cut], advantages[cut], config, learner)) is not None]
    rate = learning_rate(config.learning_rate, config.warmup_steps, config.decay, config.floor, step, config.steps)
    if len(batches) < len(cuts) and config.guards.nothing_to_learn == "stop":
        raise UserError(
            f"Step {step}: all rollouts of a group have the same reward, in every group of an update, so there is "
            "nothing to learn. Choose problems that the policy solves now and then (curate.*.pass_rates), a larger "
            "rl.*.group_size, or rl.*.guards.nothing_to_learn=skip."
        )
    clip = learner.config.gradient_clip
    if config.loss.kl and renews(config.loss.kl.refresh, step):
        everyone(Learner.renew_reference, learner)
    objective = Objective(config.loss, config.temperature, rate, clip, config.guards)
    metrics, bad = everyone(update, learner, batches, objective)
    refuse(bad, config.guards.bad_update, step)
    skipped = {"updates/empty": float(len(cuts) - len(batches)), "updates/bad": float(len(bad))}
    return {**metrics, **skipped, "learning_rate": rate}


def renews(refresh: int | None, step: int) -> bool:
    """Return whether the reference of KL becomes the policy of before this step: after every `refresh` steps."""
    return refresh is not None and step > 1 and (step - 1) % refresh == 0


def refuse(bad: Sequence[Unmade], rule: str, step: int) -> None:
    """Raise UserError for updates that stop the run, and log those that are skipped."""
    for one in bad:
        if one.wrong_sampler:
            raise UserError(
                f"Step {step}: {one.why}: the sampler's log-probs are not those of the policy that it was given, at "
                "the temperature that it draws at. That update was not made. Samplers that sampler.urls names must be "
                f"started with `{command('reforge sampler serve')}`; if batches are drawn far ahead, lower "
                "rl.*.staleness or rl.*.learning_rate, or raise rl.*.guards.gap."
            )
        if rule == "stop":
            raise UserError(
                f"Step {step}: {one.why}. That update was not made: lower rl.*.learning_rate or learner.gradient_clip, "
                "or let such updates be skipped and counted (rl.*.guards.bad_update=skip)."
            )
        log.warning("Step %d: %s. That update is skipped (rl.*.guards.bad_update).", step, one.why)


def batch_of(groups: Sequence[Group], advantages: Advantages, config: Rl, learner: Learner) -> Batch | None:
    """Return the rollouts of an update that a gradient comes from, each weighted by the mean over all that count; None
    where there are none. What has no advantage is not counted; an advantage of 0 is, and needs no forward pass unless
    KL or entropy act on it."""
    counted = [
        (rollout, advantage)
        for group, values in zip(groups, advantages, strict=True)
        for rollout, advantage in zip(group.rollouts, values, strict=True)
        if advantage is not None
    ]
    shares = token_weights([len(rollout.token_ids) for rollout, _ in counted], config.loss) if counted else []
    everywhere = config.loss.kl is not None or config.loss.entropy > 0
    rows = [
        Row(rollout.prompt_ids, rollout.token_ids, weight, advantage, rollout.logprobs)
        for (rollout, advantage), weight in zip(counted, shares, strict=True)
        if advantage or everywhere
    ]
    return build_batch(rows, learner.config.micro_batch_tokens, learner.replicas) if rows else None
