"""rewards_G → advantages_G."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

_EPSILON = 1e-6


def group_normalised(rewards_G: Sequence[float]) -> list[float] | None:
    """(r − mean) / (std + 1e-6), unbiased std, as in DeepCoder's GRPO (verl `compute_grpo_outcome_advantage`).

    None where the group teaches nothing: fewer than two rewards, or all equal. Such groups are dropped and counted,
    never blown up by the epsilon.
    """
    if len(rewards_G) < 2 or min(rewards_G) == max(rewards_G):
        return None
    mean = statistics.fmean(rewards_G)
    scale = statistics.stdev(rewards_G) + _EPSILON
    return [(reward - mean) / scale for reward in rewards_G]
