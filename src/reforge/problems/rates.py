"""How often a policy solved each problem, from the rollouts of an evaluation. What it always or never solves teaches it
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reforge.config.problems import PassRates
from reforge.errors import UserError
from reforge.problems.source import check_pin
from reforge.records import Problem, Status, solved_by_attempt


def pass_rates(config: PassRates) -> dict[str, float]:
    """Return for each problem the share of its judged attempts that solve it, at the completion limit `config.length`:
    by the column `solved`, or in older files by the verdict's status."""
    path = Path(config.path).expanduser()
    try:
        said = "solved" if "solved" in pq.read_schema(path).names else "status"
        table = pq.read_table(path, columns=["problem_id", "index", "length", said])
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"curate.*.pass_rates: {path} is no rollouts.parquet of an evaluation: {error}") from error
    check_pin(path, config)
    lengths = sorted(set(table["length"].to_pylist()))
    table = table.filter(pc.equal(table["length"], config.length))
    turns = (
        ((row["problem_id"], row["index"]), row["solved"] if said == "solved" else Status(row["status"]).solved)
        for row in table.to_pylist()
    )
    found: dict[str, list[bool]] = defaultdict(list)
    for (problem, _), solved in solved_by_attempt(turns).items():
        if solved is not None:
            found[problem].append(solved)
    if not found:
        raise UserError(f"curate.*.pass_rates.length: {path} has no {config.length!r}, only {', '.join(lengths)}.")
    return {problem: sum(values) / len(values) for problem, values in found.items()}


def unteachable(problem: Problem, rates: Mapping[str, float], config: PassRates) -> str:
    """Why a problem is left out; empty where the policy solves it sometimes."""
    rate = rates.get(problem.id)
    if rate is None:
        return "not measured: no scored rollout in curate.*.pass_rates.path"
    if rate <= config.above:
        return f"too hard: solved in {rate:.0%} of the rollouts"
    return f"too easy: solved in {rate:.0%} of the rollouts" if rate >= config.below else ""


def graded(problem: Problem, rates: Mapping[str, float]) -> Problem:
    """With the measured difficulty: percent of the rollouts that failed."""
    return replace(problem, difficulty=round(100 * (1 - rates[problem.id])))
