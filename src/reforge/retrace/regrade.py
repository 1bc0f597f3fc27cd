"""The verdicts of a stage again: every program that it recorded, through the sandbox of now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reforge.config import Config
from reforge.config.load import load_config
from reforge.environments.scorer import score
from reforge.environments.selection import longest_inputs
from reforge.errors import UserError
from reforge.frame import runs
from reforge.frame.judge import local_judge
from reforge.lineage import graph
from reforge.lineage.recorded import require_inputs
from reforge.machine.project import project_root, quiet
from reforge.problems.store import read_problems
from reforge.records import Problem
from reforge.rollouts.store import from_row, read_rows
from reforge.sandbox.judge import in_parallel


def regrade(name: str) -> Iterator[tuple[str, list[str]]]:
    """Of each file of rollouts, which verdicts are others now, in words."""
    quiet()
    os.chdir(project_root())
    spec, config = graph.stage_spec(name), load_config(runs.PARAMS)
    require_inputs(spec)
    problems = _problems(name, config)
    files = _files(name, Path(spec.out), config)
    with local_judge(config.sandbox) as judge:

        def changed(row: Mapping[str, Any]) -> str:
            rollout, before = from_row(row)
            if rollout.problem_id not in problems:
                return f"rollout {rollout.problem_id}/{rollout.index} is of no problem that {name} had"
            now = score(rollout, problems[rollout.problem_id], judge)
            if (now.value, now.verdict.status) == (before.value, before.verdict.status):
                return ""
            what = f"rollout {rollout.problem_id}/{rollout.index}{row['length'] and ' at ' + row['length']}"
            if now.verdict.status == before.verdict.status:
                return f"{what}: its reward was {before.value} and is {now.value}, its verdict is {now.verdict.status}"
            return (
                f"{what} was {before.verdict.status} ({before.verdict.reason}) and is {now.verdict.status} "
                f"({now.verdict.reason})"
            )

        for path in files:
            rows = read_rows([path])
            yield (
                f"{path}, {len(rows)} verdicts",
                [line for line in in_parallel(changed, rows, config.sandbox.workers) if line],
            )


def _files(name: str, out: Path, config: Config) -> list[Path]:
    """All that there must be: a missing one is no verdict that stands."""
    base, _, key = name.partition("@")
    if base == "rl":
        return [out / "rollouts" / f"step-{step:05d}.parquet" for step in range(1, config.rl[key].steps + 1)]
    return [out / "data" / "rollouts.parquet" if base == "sample" else out / "rollouts.parquet"]


def _problems(name: str, config: Config) -> dict[str, Problem]:
    """As the stage read them."""
    kind, _, key = name.partition("@")
    if kind not in ("rl", "sample", "evaluate"):
        raise UserError(f"{name} has no verdicts; stages of rl, sample and evaluate do.")
    own = getattr(config, kind)[key]
    side = own.side if kind == "evaluate" else "train"
    known = read_problems(Path(own.slots()["problems"].path(own.problems)) / f"{side}.parquet")
    if kind == "rl":
        known = [longest_inputs(problem, own.reward_tests) for problem in known]
    return {problem.id: problem for problem in known}
