"""rewards_G → returns_G → advantages_G, and the punishment of overlong rollouts. All functions are pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

_EPSILON = 1e-6

Advantage = Callable[[Sequence[float]], list[float]]


def normalised(rewards_G: Sequence[float]) -> list[float]:
    """Return (r − mean) / (std + 1e-6) with the unbiased std: GRPO as DeepCoder runs it (verl
    `compute_grpo_outcome_advantage`).

    Here and below: all are 0 where the group teaches nothing (fewer than two rewards, or all equal), never blown up by
    the epsilon.
    """
    scale = statistics.stdev(rewards_G) + _EPSILON if _teaches(rewards_G) else 1.0
    return [value / scale for value in centred(rewards_G)]


def centred(rewards_G: Sequence[float]) -> list[float]:
    """Return r − mean, without the division that makes groups of nearly equal rewards as loud as others (Dr. GRPO, Liu
    et al. 2025)."""
    if not _teaches(rewards_G):
        return [0.0] * len(rewards_G)
    mean = statistics.fmean(rewards_G)
    return [reward - mean for reward in rewards_G]


def leave_one_out(rewards_G: Sequence[float]) -> list[float]:
    """Return r − the mean of the others: a baseline that does not contain the reward itself (RLOO, Ahmadian et al.
    2024)."""
    others = len(rewards_G) - 1
    return [value * len(rewards_G) / others if others else 0.0 for value in centred(rewards_G)]


ADVANTAGES: dict[str, Advantage] = {"normalised": normalised, "centred": centred, "leave_one_out": leave_one_out}


def soft_punishment(tokens: int, limit: int, buffer: int) -> float:
    """Return what is added to the reward of a rollout of that many tokens: 0 up to `limit` − `buffer`, then falling
    linearly to −1 at `limit` (DAPO, Yu et al. 2025, eq. 13)."""
    return -min(1.0, max(0.0, (tokens - (limit - buffer)) / buffer))


def returns_of(attempts_G: Sequence[int], values_G: Sequence[float | None], discount: float) -> list[float | None]:
    """Return what each turn and the later ones of its attempt earned: R_t = Σ_{i ≥ t} discount^(i − t) · r_i
    (Kevin-32B, section 4). `attempts_G` says which attempt each turn belongs to, in order; a turn that earned None
    takes its whole attempt out. With one turn per attempt, or a discount of 0, these are the rewards."""
    lost = {attempt for attempt, value in zip(attempts_G, values_G, strict=True) if value is None}
    found: list[float | None] = [None] * len(values_G)
    later: dict[int, float] = {}
    for place in reversed(range(len(values_G))):
        attempt, value = attempts_G[place], values_G[place]
        if value is not None and attempt not in lost:
            later[attempt] = value + (discount * later[attempt] if attempt in later else 0.0)
            found[place] = later[attempt]
    return found


def _teaches(rewards_G: Sequence[float]) -> bool:
    return len(rewards_G) > 1 and min(rewards_G) != max(rewards_G)
