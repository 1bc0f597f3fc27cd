"""Metrics of what a step's rollouts look like. Names, units and what others call them: docs/metrics.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from reforge.records import Group, Reward, solved_by_attempt
from reforge.rollouts.refusal import refusal


def rollout_metrics(groups: Sequence[Group], advantages: Sequence[Sequence[float | None]]) -> dict[str, float]:
    """Return the metrics of a step's rollouts. Rewards and their statistics are over scored rollouts, those refused
    among them; lengths are of completions, in tokens."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    scored = [reward for group in groups for reward in group.rewards if reward.value is not None]
    solved = [_solved(group) for group in groups]
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    counted = [
        (value, length)
        for group, values in zip(groups, advantages, strict=True)
        for value, length in zip(values, (len(rollout.token_ids) for rollout in group.rollouts), strict=True)
        if value is not None
    ]
    used = [value for value, _ in counted]
    return {
        **_reward_parts(scored),
        "reward/solved_all": sum(map(all, solved)) / len(groups),
        "reward/solved_some": sum(any(group) and not all(group) for group in solved) / len(groups),
        "reward/solved_none": sum(not any(group) for group in solved) / len(groups),
        "length/mean": statistics.fmean(lengths),
        "length/median": float(statistics.median(lengths)),
        "length/max": float(max(lengths)),
        "truncated": sum(rollout.truncated for rollout in rollouts) / len(rollouts),
        "infra": float(len(rollouts) - len(scored)),
        "rollouts/refused": float(sum(bool(refusal(rollout)) for rollout in rollouts)),
        "groups/dropped": float(sum(not any(group) for group in advantages)),
        "advantage/mean": statistics.fmean(used) if used else 0.0,
        "advantage/std": statistics.pstdev(used) if used else 0.0,
        "advantage/max_abs": max(map(abs, used), default=0.0),
        "tokens/sampled": float(sum(lengths)),
        "tokens/counted": float(sum(length for _, length in counted)),
    }


def _solved(group: Group) -> list[bool]:
    pairs = zip(group.rollouts, group.rewards, strict=True)
    found = solved_by_attempt((rollout.index, reward.solved) for rollout, reward in pairs)
    return [bool(solved) for solved in found.values()]


def _reward_parts(scored: Sequence[Reward]) -> dict[str, float]:
    if not scored:
        return {"reward/mean": 0.0, "reward/std": 0.0}
    values = [reward.value or 0.0 for reward in scored]
    parts = {name for reward in scored for name in reward.parts}
    means = {f"reward/{name}": statistics.fmean(reward.parts.get(name, 0.0) for reward in scored) for name in parts}
    return {"reward/mean": statistics.fmean(values), "reward/std": statistics.pstdev(values), **means}
