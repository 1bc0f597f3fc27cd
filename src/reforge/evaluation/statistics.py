"""pass@k, rates and means with intervals, and paired differences, as pure functions. The problem is the unit of every
interval.

Rollouts of one problem are not independent, so a problem contributes one score, the mean over its rollouts (Miller,
arXiv 2411.00640). Two models are compared by their differences on the same problems, which removes the spread between
easy and hard ones; the interval is Student's t over problems. For the rate of one model that interval is too narrow
near 0 and 1, where most problems score alike: it holds the truth 80 to 90 times in 100 in place of 95
(benchmarks/evaluation/coverage.py), so a rate has Wilson's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit  # type: ignore[import-untyped]  # scipy.stats takes a second more

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


def rate_interval(scores: Sequence[float], confidence: float) -> Estimate:
    """Return the mean of one score from 0 to 1 per problem with Wilson's score interval, for as many independent
    answers as the scores are worth: n·m(1−m)/s² (Kish's effective sample size), which is n where the rollouts of each
    problem agree, and more where they do not.

    Where few problems show the rarer outcome, s² is as uncertain as m and errs with it. So the design effect s²/m(1−m)
    counts as often as there are problems that show that outcome, and once more as 1: rollouts that agree.
    """
    if not scores:
        raise ValueError("a rate needs at least one score")
    values = np.asarray(scores, dtype=np.float64)
    n, mean = len(values), float(values.mean())
    shows = min(int((values > 0).sum()), int((values < 1).sum()))
    effect = (shows * float(values.var()) / (mean * (1 - mean)) + 1) / (shows + 1) if shows and 0 < mean < 1 else 1.0
    worth, z = n / effect, float(ndtri((1.0 + confidence) / 2.0))
    middle = (mean + z * z / (2 * worth)) / (1 + z * z / worth)
    margin = z / (1 + z * z / worth) * math.sqrt(mean * (1 - mean) / worth + (z / (2 * worth)) ** 2)
    return Estimate(mean, max(0.0, min(mean, middle - margin)), min(1.0, max(mean, middle + margin)))


def mean_interval(values: Sequence[float], confidence: float, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Return the mean of one value per problem, or per seed, with its t interval, clipped to `bounds`, the range that a
    value can take.

    Where all values are equal the t interval has no width, although 20 failures out of 20 do not prove a rate of zero.
    Any other value then has a chance of at most p = 1 − (α/2)^(1/n) (the exact binomial bound), so the mean lies within
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
