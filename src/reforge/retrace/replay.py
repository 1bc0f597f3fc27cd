"""Run a rung of reinforcement learning again from what it recorded.

`replay` trains on the recorded rollouts and verdicts, with no sampler and no sandbox: every step must leave the same
weights as before. `resample` draws every batch again from the policy it was drawn from, but trains on the recorded
batch, so that a difference stays in its batch.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reforge.config import Config
from reforge.config.load import load_config
from reforge.config.training import Rl
from reforge.environments.template import Template
from reforge.errors import UserError
from reforge.files.tensors import tensor_digests
from reforge.frame import launch, runs
from reforge.frame.determinism import make_deterministic, seed_of
from reforge.lineage import graph
from reforge.lineage.compare import few
from reforge.lineage.inputs import require_inputs
from reforge.machine import process
from reforge.machine.project import project_root, quiet
from reforge.policy.learner import Learner, open_learner
from reforge.policy.ranks import dismiss, everyone, follow
from reforge.records import Group, Prompt, Rollout
from reforge.rollouts.digests import digests_of, named, read_digests, rollout_digests
from reforge.rollouts.sampler import Sampler, Sampling
from reforge.rollouts.server import open_sampler
from reforge.rollouts.store import read_table, rollouts_file, to_groups
from reforge.training.grpo import CANARIES
from reforge.training.handover import folder_of, publish
from reforge.training.learn import advantages_of, learn
from reforge.training.schedule import version_for

Outcomes = Iterator[tuple[str, list[str]]]  # what was compared, and what differs in it, as text


@dataclass(frozen=True)
class _Recorded:
    """A rung that dvc.lock names, and a learner as it was before the rung's first step."""

    config: Config
    rl: Rl
    out: Path
    seed: int
    model: Path
    learner: Learner

    def path(self, step: int) -> Path:
        return rollouts_file("rl", self.out, step)

    def groups(self, step: int) -> list[Group]:
        return to_groups(read_table(self.path(step)).to_pylist())

    def learn(self, step: int, groups: Sequence[Group]) -> None:
        advantages = advantages_of(groups, self.rl)
        learn(self.learner, self.rl, groups, advantages, step)


def replay(name: str, first: int, last: int | None) -> Outcomes:
    """Yield the outcome of each step from `first` to `last` (None: the rung's last step), and end after the first that
    differs. All steps before `first` are trained, too."""
    with _opened(name, first, last, "") as (rung, end):
        if rung is None:
            return
        for step in range(1, end + 1):
            wrong = _replayed(rung, step)
            if step >= first or wrong:
                yield f"step {step}", wrong
            if wrong:
                return


def resample(name: str, first: int, last: int | None) -> Outcomes:
    """Yield the outcome of each batch, from that of step `first` to that of step `last` (None: the rung's last)."""
    with _opened(name, first, last, "--resample") as (rung, end), ExitStack() as stack:
        if rung is None:
            return
        place = ".scratch" if rung.config.sampler.handover == "files" else "/dev/shm"
        Path(place).mkdir(exist_ok=True)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reforge-replay-", dir=place)))
        log, rl = Path(".runs") / name / "vllm.log", rung.rl
        with open_sampler(rung.model, rung.config.sampler, Template(rung.learner.tokenizer).decode, log) as sampler:
            for version in range(version_for(end, rl.staleness) + 1):
                if version:
                    rung.learn(version, rung.groups(version))
                steps = [step for step in range(first, end + 1) if version_for(step, rl.staleness) == version]
                if steps:
                    canaries = [group.rollouts[0].prompt_ids for group in rung.groups(steps[0])[:CANARIES]]
                    sampler.load(publish(rung.learner, scratch, version, canaries, None, rl.temperature))
                    shutil.rmtree(folder_of(scratch, version))
                for step in steps:
                    yield f"step {step}", _resampled(rung, sampler, step)


def _resampled(rung: _Recorded, sampler: Sampler, step: int) -> list[str]:
    """Draw each turn again from the prompts that were recorded for it."""
    rl, recorded = rung.rl, [rollout for group in rung.groups(step) for rollout in group.rollouts]
    sampling = Sampling(rl.temperature, 1.0, rl.max_tokens)
    now = {}
    for turn in sorted({rollout.turn for rollout in recorded}):
        wave = [Prompt(one.problem_id, one.prompt_ids, one.index, turn) for one in recorded if one.turn == turn]
        for rollout in sampler.sample(wave, sampling, f"{rung.seed}/{step}"):
            now[rollout.problem_id, rollout.index, turn] = rollout
    compared = [_other(one, now[one.problem_id, one.index, one.turn]) for one in recorded]
    return [words for words in compared if words]


@contextmanager
def _opened(name: str, first: int, last: int | None, option: str) -> Iterator[tuple[_Recorded | None, int]]:
    """Yield the rung and the last step asked for. Where the learner has several ranks, they are launched to do it; this
    process gets None for the rung if it is their launcher, or a rank that follows."""
    quiet()
    os.chdir(project_root())
    spec, config = graph.stage_spec(name), load_config(runs.PARAMS)
    base, _, key = name.partition("@")
    if base != "rl":
        raise UserError(f"Only a rung of reinforcement learning can be replayed, such as rl@short; {name} is none.")
    require_inputs(spec)
    rl = config.rl[key]
    end = rl.steps if last is None else last
    if not 1 <= first <= end <= rl.steps:
        raise UserError(f"--steps {first}:{end}: {name} has the steps 1 to {rl.steps}.")
    if config.learner.nodes > 1:
        raise UserError("A replay runs on one machine, and learner.nodes is more: compose with learner.nodes=1.")
    if launch.needed(config.learner):
        launch.launch(config.learner, ["replay", name, f"--steps={first}:{end}", *option.split()])
        yield None, end
        return
    seed = seed_of(config.seed, name)
    make_deterministic(seed, config.determinism)
    if process.rank():
        follow()
        yield None, end
        return
    model = Path(rl.input("init"))
    learner = open_learner(model, config.learner, seed, reference=rl.loss.kl is not None)
    try:
        yield _Recorded(config, rl, Path(spec.out), seed, model, learner), end
    finally:
        dismiss()


def _replayed(rung: _Recorded, step: int) -> list[str]:
    path = rung.path(step)
    record, table = read_digests(path.with_suffix(".json")), read_table(path)
    changed = record.changed(digests_of(step, rollout_digests(table), {}))
    if changed:
        return [f"{path}: {what} is not what was recorded" for what in few(changed)]
    rows = table.to_pylist()
    groups = to_groups(rows)
    again = [advantage for group in advantages_of(groups, rung.rl) for advantage in group]
    others = [
        f"the advantage of rollout {named(row['problem_id'], row['index'], row['turn'])} was {row['advantage']} and is "
        f"{advantage}"
        for row, advantage in zip(rows, again, strict=True)
        if row["advantage"] != advantage
    ]
    if others:
        return few(others)
    rung.learn(step, groups)
    with tempfile.TemporaryDirectory(prefix="reforge-replay-") as name:
        everyone(Learner.save_model, rung.learner, Path(name))
        now = digests_of(step, {}, tensor_digests(Path(name)))
    tensors = record.other_tensors(now)
    if not tensors:
        return []
    return [f"{len(tensors)} of {len(now.tensors)} tensors are not what the step left: {', '.join(few(tensors))}"]


def _other(before: Rollout, now: Rollout) -> str:
    """Return, as text, the first token or log-prob that differs, or else the length that does; empty if none does."""
    what = f"rollout {named(before.problem_id, before.index, before.turn)}"
    logprobs = np.array(now.logprobs, np.float32).tolist()  # rounded as in the record
    pairs = zip(before.token_ids, now.token_ids, before.logprobs, logprobs, strict=False)
    for place, (one, other, logprob, again) in enumerate(pairs):
        if one != other:
            return f"{what}: token {place} was {one} and is {other}"
        if logprob != again and not (math.isnan(logprob) and math.isnan(again)):
            return f"{what}: the log-prob of token {place} was {logprob} and is {again}"
    lengths = {"tokens": (before.token_ids, now.token_ids), "log-probs": (before.logprobs, logprobs)}
    for of, (had, has) in lengths.items():
        if len(had) != len(has):
            return f"{what}: had {len(had)} {of} and has {len(has)}"
    return ""
