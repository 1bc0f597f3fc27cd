"""A rung of reinforcement learning again from what it recorded: the rollouts and verdicts as they are in its output, no
sampler, no sandbox. Every step must leave the weights that it left.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reforge.config.training import Rl, Rung
from reforge.environment import project_root, quiet
from reforge.errors import UserError
from reforge.lineage import graph
from reforge.lineage.compare import few
from reforge.lineage.recorded import require_inputs
from reforge.params import load_config
from reforge.policy.learner import Learner, open_learner
from reforge.policy.ranks import dismiss, everyone
from reforge.rollouts.record import read_record, record_of, rollout_digests
from reforge.rollouts.store import read_table, to_groups
from reforge.stages import launch, runs
from reforge.stages.determinism import make_deterministic, seed_of
from reforge.tensors import tensor_digests
from reforge.training.learn import advantages_of, learn


def replay(name: str, first: int = 1, last: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Of each step from `first` to `last` what is not as it was, in words; ends after the first that differs. All steps
    before `first` are trained, too."""
    quiet()
    os.chdir(project_root())
    spec, config = graph.stage_spec(name), load_config(runs.PARAMS)
    base, _, key = name.partition("@")
    if base != "rl":
        raise UserError(f"Only a rung of reinforcement learning can be replayed, such as rl@16k; {name} is none.")
    require_inputs(spec)
    if launch.needed(config.learner):
        raise UserError(
            "A replay has one rank; sums over several are added in another order, so their weights would differ in the "
            "last bits. Only rungs trained with learner.ranks=1 can be replayed."
        )
    rung, rollouts = config.rl.rungs[key], Path(spec.out) / "rollouts"
    last = rung.steps if last is None else last
    if not 1 <= first <= last <= rung.steps:
        raise UserError(f"--steps {first}:{last}: {name} has the steps 1 to {rung.steps}.")
    seed = seed_of(config.seed, name)
    make_deterministic(seed, config.determinism)
    (model,) = (Path(path) for path in spec.deps if path.startswith("outputs/") and path.endswith("/model"))
    learner = open_learner(model, config.learner, seed, reference=config.rl.loss.kl is not None)
    try:
        for step in range(1, last + 1):
            wrong = _replay(learner, config.rl, rung, step, rollouts / f"step-{step:05d}.parquet")
            if step >= first or wrong:
                yield step, wrong
            if wrong:
                return
    finally:
        dismiss()


def _replay(learner: Learner, rl: Rl, rung: Rung, step: int, path: Path) -> list[str]:
    record, table = read_record(path.with_suffix(".json")), read_table(path)
    changed = record.changed(record_of(step, rollout_digests(table), {}))
    if changed:
        return [f"{path}: {what} is not what was recorded" for what in few(changed)]
    rows = table.to_pylist()
    groups = to_groups(rows)
    advantages = advantages_of(groups, rl, rung)
    again = [advantage for group in advantages for advantage in group]
    others = [
        f"the advantage of rollout {row['problem_id']}/{row['index']} was {row['advantage']} and is {advantage}"
        for row, advantage in zip(rows, again, strict=True)
        if row["advantage"] != advantage
    ]
    if others:
        return few(others)
    learn(learner, rl, rung, groups, advantages, step)
    with tempfile.TemporaryDirectory(prefix="reforge-replay-") as name:
        everyone(Learner.save_model, learner, Path(name))
        now = record_of(step, {}, tensor_digests(Path(name)))
    tensors = record.other_tensors(now)
    if not tensors:
        return []
    return [f"{len(tensors)} of {len(now.tensors)} tensors are not what the step left: {', '.join(few(tensors))}"]
