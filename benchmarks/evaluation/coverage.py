"""How often does the interval of a rate hold the truth? 2,000 simulated evaluations of each of many kinds: how many
problems, how many rollouts of each, the rate, and how alike the problems are.

    python -m benchmarks.evaluation.coverage

A problem's rate is drawn from a beta distribution with the mean `rate` and the sum of parameters `alike`: at 0.5 most
problems are solved always or never, at 10 nearly all have about the same rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.record import claim, head, show, write
from reforge.evaluation.statistics import Estimate, mean_interval, rate_interval

TABLES, CONFIDENCE = 2000, 0.95
PROBLEMS, ROLLOUTS = (20, 50, 100, 400), (1, 4, 16)
RATES, ALIKE = (0.02, 0.05, 0.2, 0.5, 0.8, 0.95, 0.98), (0.5, 2.0, 10.0)
GOAL = (0.93, 0.97)
INTERVALS: dict[str, Callable[[Sequence[float], float], Estimate]] = {"ours": rate_interval, "t": mean_interval}


def coverage(problems: int, rollouts: int, rate: float, alike: float, seed: int) -> dict[str, float]:
    """Return, by interval, the share of simulated evaluations whose interval holds the rate."""
    rng = np.random.default_rng(seed)
    ability_TP = rng.beta(rate * alike, (1 - rate) * alike, size=(TABLES, problems))
    scores_TP = (rng.binomial(rollouts, ability_TP) / rollouts).tolist()
    held = dict.fromkeys(INTERVALS, 0)
    for scores in scores_TP:
        for name, interval in INTERVALS.items():
            found = interval(scores, CONFIDENCE)
            held[name] += found.low <= rate <= found.high
    return {name: count / TABLES for name, count in held.items()}


def main() -> None:
    commit, kinds = head(), itertools.product(PROBLEMS, ROLLOUTS, RATES, ALIKE)
    runs = [
        {"problems": one[0], "rollouts": one[1], "rate": one[2], "alike": one[3], **coverage(*one, seed)}
        for seed, one in enumerate(kinds)
    ]
    claims = []
    for name, words in (("ours", "our interval of a rate"), ("t", "Student's t over problems")):
        shares = [float(run[name]) for run in runs]
        inside = sum(GOAL[0] <= share <= GOAL[1] for share in shares) / len(shares)
        goal, met = ("100", inside == 1) if name == "ours" else ("", None)
        about = f"{words}: kinds of evaluation, of {len(runs)}, in which it holds the truth 93 to 97 times in 100"
        claims += [
            claim(about, 100 * inside, "%", goal, met),
            claim(f"{words}: the kind in which it does so least often", 100 * min(shares), "%"),
            claim(f"{words}: the kind in which it does so most often", 100 * max(shares), "%"),
        ]
    show(claims)
    write("evaluation_coverage", claims, runs, commit)


if __name__ == "__main__":
    main()
