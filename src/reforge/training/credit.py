"""Scored groups → advantages, by the rules of the config."""

from __future__ import annotations

from reforge.config.training import Overlong
from reforge.objective.advantages import ADVANTAGES, soft_punishment
from reforge.records import Group, Rollout
from reforge.rollouts.refusal import refusal


def group_advantages(group: Group, advantage: str, overlong: Overlong, max_tokens: int) -> list[float | None]:
    """One advantage per rollout; None where it counts nowhere, neither in the group's statistics nor in the loss: an
    infrastructure failure, a refused rollout, or a truncated one under the rule `filter`. 0 where it teaches nothing: a
    group of equal rewards, or a truncated rollout without reward under the rule `silence`.
    """
    members = list(zip(group.rollouts, group.rewards, strict=True))
    rewards = {
        number: reward.value + (_punishment(rollout, overlong, max_tokens) if overlong.rule == "punish" else 0.0)
        for number, (rollout, reward) in enumerate(members)
        if reward.value is not None and not (overlong.rule == "filter" and rollout.truncated) and not refusal(rollout)
    }
    values = dict(zip(rewards, ADVANTAGES[advantage](list(rewards.values())), strict=True))
    if overlong.rule == "silence":
        values |= {number: 0.0 for number in values if members[number][0].truncated and not members[number][1].value}
    return [values.get(number) for number in range(len(members))]


def _punishment(rollout: Rollout, overlong: Overlong, max_tokens: int) -> float:
    return soft_punishment(len(rollout.token_ids), max_tokens, overlong.buffer or 1)
