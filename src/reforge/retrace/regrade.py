"""Judge again every program that a stage recorded, in the sandbox as it is now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reforge.config.load import load_config
from reforge.environments.selection import longest_inputs
from reforge.environments.template import Template
from reforge.errors import UserError
from reforge.frame import runs
from reforge.frame.environment import environment_of
from reforge.frame.judge import local_judge
from reforge.lineage import graph
from reforge.lineage.inputs import require_inputs
from reforge.machine.project import project_root, quiet
from reforge.policy.folder import load_tokenizer
from reforge.problems.store import read_problems
from reforge.records import Problem, Reward, Status, Verdict
from reforge.rollouts.digests import named
from reforge.rollouts.refusal import refusal
from reforge.rollouts.store import from_row, read_rows, rollouts_file
from reforge.sandbox.judge import in_parallel


def regrade(name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield for each file of rollouts its name, with the number of its verdicts, and which verdicts differ now, as
    text."""
    quiet()
    os.chdir(project_root())
    spec, config = graph.stage_spec(name), load_config(runs.PARAMS)
    require_inputs(spec)
    kind, _, key = name.partition("@")
    if kind not in ("rl", "sample", "evaluate"):
        raise UserError(f"{name} has no verdicts; stages of rl, sample and evaluate do.")
    own = getattr(config, kind)[key]
    problems = _problems(kind, own)
    steps = range(1, own.steps + 1) if kind == "rl" else [0]
    files = [rollouts_file(kind, Path(spec.out), step) for step in steps]  # no glob: a missing one raises
    template = Template(load_tokenizer(Path(own.input("init" if kind == "rl" else "model"))))
    weights = own.reward if kind == "rl" else {"accuracy": 1.0}
    with local_judge(config.sandbox) as judge:
        environment = environment_of(own.environment, weights, own.own, problems, template, judge)

        def changed(row: Mapping[str, Any]) -> str:
            rollout, before = from_row(row)
            what = f"rollout {named(rollout.problem_id, rollout.index, rollout.turn)}"
            if rollout.problem_id not in problems:
                return f"{what} is of no problem that {name} had"
            what = f"{what} at {row['limit']}" if row["limit"] else what
            now = environment.grade(rollout)
            return _differs(what, before, replace(now, solved=None) if refusal(rollout) else now)

        for path in files:
            rows = read_rows([path])
            yield (
                f"{path}, {len(rows)} verdicts",
                [line for line in in_parallel(changed, rows, config.sandbox.workers) if line],
            )


def _differs(what: str, before: Reward, now: Reward) -> str:
    had, has = before.verdict or Verdict(Status.NO_PROGRAM), now.verdict or Verdict(Status.NO_PROGRAM)
    if had.status != has.status:
        return f"{what} was {had.status} ({had.reason}) and is {has.status} ({has.reason})"
    if before.value != now.value:
        return f"{what}: its reward was {before.value} and is {now.value}, its verdict is {has.status}"
    if before.solved != now.solved:
        return f"{what}: solved was {before.solved} and is {now.solved}, its verdict is {has.status}"
    return ""


def _problems(kind: str, own: Any) -> dict[str, Problem]:
    """Return the problems as the stage read them, by id."""
    side = own.side if kind == "evaluate" else "train"
    known = read_problems(Path(own.input("problems")) / f"{side}.parquet")
    if kind == "rl":
        known = [longest_inputs(problem, own.reward_tests) for problem in known]
    return {problem.id: problem for problem in known}
