"""Outcomes of rollouts → the table of scores that `outputs/evaluate/<model>/scores.json` holds."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reforge.errors import InfrastructureError
from reforge.evaluation.statistics import pass_at_k, rate_interval


@dataclass(frozen=True)
class Outcome:
    """A judged rollout, cut at the limit `limit`. `correct` is None where the sandbox itself failed: such a
    rollout is excluded from every rate of success and counted as infra."""

    problem_id: str
    difficulty: int
    limit: str
    correct: bool | None
    truncated: bool
    tokens: int


def score_table(
    model: str, results: Sequence[Outcome], ks: Sequence[int], confidence: float, limits: Mapping[str, int]
) -> dict[str, Any]:
    """Return the scores of a model as a table. `limits` maps each name to its limit in tokens. Raises ValueError unless
    every problem has equally many rollouts at every limit."""
    problems = {outcome.problem_id for outcome in results}
    counts = Counter((outcome.problem_id, outcome.limit) for outcome in results)
    if counts.keys() != {(key, name) for key in problems for name in limits} or len(set(counts.values())) != 1:
        raise ValueError(f"{model}: needs equally many rollouts of every problem at each of {', '.join(limits)}")
    by_limit = {name: [outcome for outcome in results if outcome.limit == name] for name in limits}
    return {
        "model": model,
        "rollouts": next(iter(counts.values())),
        "ks": list(ks),
        "limits": {name: _score(model, by_limit[name], ks, confidence, limits[name]) for name in limits},
    }


def problem_means(per_problem: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the `per_problem` of a score table as one score per problem, NaN where no rollout was scored."""
    return {key: correct / scored if scored else math.nan for key, (correct, scored) in per_problem.items()}


def _score(
    model: str, outcomes: Sequence[Outcome], ks: Sequence[int], confidence: float, max_tokens: int
) -> dict[str, Any]:
    per_problem = dict.fromkeys(sorted({o.problem_id for o in outcomes}), (0, 0))
    for outcome in outcomes:
        if outcome.correct is not None:
            correct, scored = per_problem[outcome.problem_id]
            per_problem[outcome.problem_id] = (correct + outcome.correct, scored + 1)
    if not any(scored for _, scored in per_problem.values()):
        raise InfrastructureError(f"{model}: the sandbox judged none of {len(outcomes)} rollouts, so there is no score")
    return {
        "max_tokens": max_tokens,
        **{f"pass@{k}": _pass_rate(per_problem, k, confidence) for k in sorted({1, *ks})},
        "truncated": sum(o.truncated for o in outcomes) / len(outcomes),
        "mean_tokens": sum(o.tokens for o in outcomes) / len(outcomes),
        "infra": sum(o.correct is None for o in outcomes),
        "by_difficulty": _by_difficulty(outcomes, per_problem),
        "per_problem": {key: list(pair) for key, pair in per_problem.items()},
    }


def _pass_rate(per_problem: Mapping[str, tuple[int, int]], k: int, confidence: float) -> dict[str, float | None]:
    """Return pass@k with its interval. Problems left with fewer than k scored rollouts do not count; all is null where
    that is every problem."""
    rates = [pass_at_k(scored, correct, k) for correct, scored in per_problem.values() if scored >= k]
    if not rates:
        return {"value": None, "low": None, "high": None}
    return asdict(rate_interval(rates, confidence))


def _by_difficulty(
    outcomes: Sequence[Outcome], per_problem: Mapping[str, tuple[int, int]]
) -> dict[str, dict[str, float | None]]:
    problems: dict[int, set[str]] = defaultdict(set)
    for outcome in outcomes:
        problems[outcome.difficulty].add(outcome.problem_id)
    table: dict[str, dict[str, float | None]] = {}
    for difficulty in sorted(problems):
        rates = [correct / scored for correct, scored in (per_problem[key] for key in problems[difficulty]) if scored]
        mean = math.fsum(rates) / len(rates) if rates else None
        table[str(difficulty)] = {"problems": len(problems[difficulty]), "pass@1": mean}
    return table
