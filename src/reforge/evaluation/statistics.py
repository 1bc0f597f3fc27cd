"""pass@k, means with intervals, and paired differences, as pure functions. The problem is the unit of every interval.

Rollouts of one problem are not independent, so a problem contributes one score, the mean over its rollouts, and the
interval is Student's t over problems (Miller, arXiv 2411.00640). Two models are compared by their differences on the
same problems, which removes the spread between easy and hard ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]  # Student's quantiles; scipy.stats takes a second more

from reforge.errors import UserError


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the chance that k rollouts drawn from these n, c of them correct, hold a correct one: 1 − C(n−c,k)/C(n,k).

    This is the product form of Chen et al. (arXiv 2107.03374), exact for any n. NaN when n < k: the original code says
    1.0 there, which turns missing rollouts into solved problems.
    """
    if not 0 <= c <= n or k < 1:
        raise ValueError(f"pass@k needs 0 <= c <= n and k >= 1, got n={n}, c={c}, k={k}")
    if n < k:
        return math.nan
    if n - c < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def mean_interval(values: Sequence[float], confidence: float, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Return the mean of one score per problem with its t interval, clipped to `bounds`, the range a score can take.

    Where all scores are equal the t interval has no width, although 20 failures out of 20 do not prove a rate of zero.
    Any other score then has a chance of at most p = 1 − (α/2)^(1/n) (the exact binomial bound), so the mean lies within
    p of the way to either bound.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    lowest, highest = bounds
    scores = np.asarray(values, dtype=np.float64)
    tail, n, mean = (1.0 - confidence) / 2.0, len(scores), float(scores.mean())
    if np.ptp(scores) == 0:
        mean = float(scores[0])
        unseen = 1.0 - tail ** (1.0 / n)
        return Estimate(mean, mean - unseen * (mean - lowest), mean + unseen * (highest - mean))
    margin = float(stdtrit(n - 1, 1.0 - tail) * scores.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, max(lowest, mean - margin), min(highest, mean + margin))


def paired_difference(a: Mapping[str, float], b: Mapping[str, float], confidence: float) -> Estimate:
    """Return the mean of a − b over problems with its t interval. NaN marks a problem without a scored rollout: its
    pair is left out. Raises UserError for different problem sets, whose difference would compare problems, not models.
    """
    if a.keys() != b.keys():
        odd = sorted(a.keys() ^ b.keys())
        raise UserError(
            f"cannot compare two models on different problems: {len(odd)} of them were answered by one model only "
            f"(such as {odd[0]!r}). Evaluate both models on the same held-out problems."
        )
    differences = [a[key] - b[key] for key in sorted(a) if not math.isnan(a[key] - b[key])]
    if not differences:
        raise UserError("cannot compare two models: no problem has a scored rollout of both. Look at the infra counts.")
    return mean_interval(differences, confidence, bounds=(-1.0, 1.0))
