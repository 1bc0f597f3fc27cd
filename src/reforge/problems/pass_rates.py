"""Measure how often a policy solved each problem, from the rollouts of an evaluation. What it always or never solves
teaches it nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc

from reforge.config.problems import PassRates
from reforge.errors import UserError
from reforge.files.parquet import read_table
from reforge.problems.source import check_pin
from reforge.records import Problem, solved_by_attempt


def pass_rates(config: PassRates) -> dict[str, float]:
    """Return for each problem the share of its judged attempts that solve it, at the completion limit `config.limit`.
    Raises UserError where the file has nothing of that limit, or is no rollouts.parquet of an evaluation."""
    path = Path(config.path).expanduser()
    try:
        table = read_table(path, ["problem_id", "index", "limit", "solved"])
    except UserError as error:
        raise UserError(f"curate.*.pass_rates.path must be the rollouts.parquet of an evaluation. {error}") from error
    check_pin(path, config)
    limits = sorted(set(table["limit"].to_pylist()))
    turns = (
        ((row["problem_id"], row["index"]), row["solved"])
        for row in table.filter(pc.equal(table["limit"], config.limit)).to_pylist()
    )
    found: dict[str, list[bool]] = defaultdict(list)
    for (problem, _), solved in solved_by_attempt(turns).items():
        if solved is not None:
            found[problem].append(solved)
    if not found:
        raise UserError(f"curate.*.pass_rates.limit: {path} has no {config.limit!r}, only {', '.join(limits)}.")
    return {problem: sum(values) / len(values) for problem, values in found.items()}


def unteachable(problem: Problem, rates: Mapping[str, float], config: PassRates) -> str:
    """Return why a problem is left out; empty where the policy solves it sometimes."""
    rate = rates.get(problem.id)
    if rate is None:
        return "not measured: no scored rollout in curate.*.pass_rates.path"
    if rate <= config.above:
        return f"too hard: solved in {rate:.0%} of the rollouts"
    return f"too easy: solved in {rate:.0%} of the rollouts" if rate >= config.below else ""


def graded(problem: Problem, rates: Mapping[str, float]) -> Problem:
    """Return `problem` with the measured difficulty: the percentage of its rollouts that failed."""
    return replace(problem, difficulty=round(100 * (1 - rates[problem.id])))
