"""Scored groups → advantages, by the rules of the config."""

from __future__ import annotations

from reforge.config.training import Rl
from reforge.objective.credit import ADVANTAGES, returns_of, soft_punishment
from reforge.records import Group, Reward, Rollout
from reforge.rollouts.refusal import refusal


def group_advantages(group: Group, config: Rl) -> list[float | None]:
    """Return one advantage per rollout; None where it counts nowhere, neither in the group's statistics nor in the
    loss: every turn of an attempt with an infrastructure failure, a refused rollout, or a truncated one under the rule
    `filter`. 0 where it teaches nothing: a group of equal returns, or a truncated rollout without reward under the rule
    `silence`.
    """
    members = list(zip(group.rollouts, group.rewards, strict=True))
    attempts = [rollout.index for rollout in group.rollouts]
    returns = returns_of(attempts, [_value(*member, config) for member in members], config.returns.discount)
    if config.returns.over == "attempts":  # each attempt counts by its first turn's return
        first = {attempt: returns[attempts.index(attempt)] for attempt in attempts}
        returns = [first[attempt] for attempt in attempts]
    counted = {number: value for number, value in enumerate(returns) if value is not None}
    values = _compared(counted, attempts, config)
    if config.overlong.rule == "silence":
        values |= {number: 0.0 for number in values if members[number][0].truncated and not members[number][1].value}
    return [values.get(number) for number in range(len(members))]


def _compared(counted: dict[int, float], attempts: list[int], config: Rl) -> dict[int, float]:
    """Compare all turns with each other; or the attempts, each of which counts once and gives its result to all its
    turns."""
    compare = ADVANTAGES[config.advantage]
    if config.returns.over == "turns":
        return dict(zip(counted, compare(list(counted.values())), strict=True))
    of_attempt = {attempts[number]: value for number, value in counted.items()}
    compared = dict(zip(of_attempt, compare(list(of_attempt.values())), strict=True))
    return {number: compared[attempts[number]] for number in counted}


def _value(rollout: Rollout, reward: Reward, config: Rl) -> float | None:
    """Return what a turn earned; None for one that counts nowhere."""
    if refusal(rollout) or (config.overlong.rule == "filter" and rollout.truncated):
        return None
    if reward.value is None or config.overlong.rule != "punish":
        return reward.value
    return reward.value + soft_punishment(len(rollout.token_ids), config.max_tokens, config.overlong.buffer or 1)
