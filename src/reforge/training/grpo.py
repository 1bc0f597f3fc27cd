"""The RL loop: GRPO+ on one context rung. The rollout worker runs ahead of it by `rl.*.staleness` batches.

What differs from DeepCoder's release: the clipping is effective, truncated rollouts leave the group statistics and
the token count as well as the loss (`rl.*.overlong`), and the loss is a mean over all tokens of the update, those of
groups that teach nothing included, not per micro-batch.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reforge.config.training import Rl
from reforge.errors import UserError
from reforge.policy.learner import Learner
from reforge.rollouts.play import Played
from reforge.rollouts.sampler import Sampler
from reforge.tracking.timeline import Timeline
from reforge.training.handover import folder_of, publish, published
from reforge.training.learn import advantages_of, learn
from reforge.training.observe import rollout_metrics
from reforge.training.recorder import Recorder
from reforge.training.schedule import is_drawn_from, older_versions
from reforge.training.worker import RolloutWorker

CANARIES = 4


@dataclass(frozen=True)
class Run:
    """The parts that a rung is trained with. `draw(step)` samples the rollouts of a step and begins to grade them.
    `canaries`: prompts that tell whether a sampler has the weights that it should. Published policies lie in
    `weights_folder`. `after_step(step, metrics, timings)` tracks and saves."""

    learner: Learner
    sampler: Sampler
    draw: Callable[[int], Played]
    canaries: Sequence[Sequence[int]]
    config: Rl
    recorder: Recorder
    weights_folder: Path
    timeline: Timeline
    after_step: Callable[[int, dict[str, float], dict[str, float]], None]


def train(run: Run, start: int = 0) -> None:
    """Run steps `start`+1 … `config.steps`. Everything random is a function of (seed, step), so a resume is exact: on
    resume, `weights_folder` must hold the older policies that later batches need."""
    config, clock = run.config, Clock(run.timeline)
    worker = RolloutWorker(run.sampler, run.draw, config.staleness, run.timeline)
    worker.start(start + 1, run.config.steps)
    try:
        for version in older_versions(start, config.staleness, run.config.steps):
            worker.publish(published(run.weights_folder, version))
        _publish(run, worker, start)
        for step in range(start + 1, run.config.steps + 1):
            with clock.lap("wait", step):
                drawn, groups = worker.take()
            with clock.lap("train", step):
                advantages = advantages_of(groups, config)
                metrics = rollout_metrics(groups, advantages)
                check_truncation(metrics["truncated"], config.guards.truncated, step)
                metrics |= learn(run.learner, config, groups, advantages, step)
                metrics["parity/max_abs"] = drawn.parity
            with clock.lap("publish", step):
                run.recorder.settle()  # the next policy may be written into the files that it reads
                weights = _publish(run, worker, step)
            with clock.lap("save", step):
                run.recorder.begin(step, groups, advantages, weights)
                if step % config.checkpoint_every == 0:
                    run.recorder.settle()  # a resume goes on after the checkpoint: all before it must be recorded
                timings = clock.timings(metrics["tokens/sampled"]) | {
                    "seconds/sampler_pause": drawn.pause_seconds,
                    "memory/peak_gib": run.learner.peak_memory(),
                }
                run.after_step(step, metrics, timings)
        run.recorder.settle()
    finally:
        worker.close()
        run.recorder.close()


def _publish(run: Run, worker: RolloutWorker, version: int) -> Path:
    """Hand a policy version to the samplers if a batch is still to be drawn from it, and remove the one that no batch
    and no resume needs any more."""
    staleness = run.config.staleness
    worn = folder_of(run.weights_folder, version - staleness - 1)
    weights = publish(run.learner, run.weights_folder, version, run.canaries, worn, run.config.temperature)
    if is_drawn_from(version, staleness, run.config.steps):
        worker.publish(weights)
    shutil.rmtree(worn, ignore_errors=True)
    return weights.folder


def problems_of_step(problem_ids: Sequence[str], batch: int, step: int, seed: int | None) -> list[str]:
    """Return the problems of a step. Steps walk through one pass over the problems after another; no problem comes
    twice within a step.

    Where `seed` is None all passes have the given order, and a step that ends one begins the next: what is last in the
    order, such as the hardest problems, is trained on like the rest. Otherwise each pass is shuffled anew, and those
    that do not fill a step are left out of it, different ones each time.
    """
    if len(problem_ids) < batch:
        raise UserError(f"rl.*.batch is {batch} problems a step but there are only {len(problem_ids)} to train on")
    if seed is None:
        first = (step - 1) * batch
        return [problem_ids[place % len(problem_ids)] for place in range(first, first + batch)]
    number, position = divmod(step - 1, len(problem_ids) // batch)
    order = list(problem_ids)
    random.Random(f"{seed}/pass/{number}").shuffle(order)
    return order[position * batch : (position + 1) * batch]


def check_truncation(truncated: float, limit: float, step: int) -> None:
    """Raise UserError where too many rollouts are truncated. With overlong filtering rambling costs nothing, so a
    collapse to it must be stopped by someone."""
    if truncated > limit:
        raise UserError(
            f"Step {step}: {truncated:.0%} of the rollouts hit rl.*.max_tokens, more than rl.*.guards.truncated = "
            f"{limit:.0%}. The policy has collapsed to rambling, or the limit is too short for these problems: raise "
            "rl.*.max_tokens, lower rl.*.learning_rate, or give the cold start more steps."
        )


class Clock:
    """A clock of the phases of a step, in seconds, for the timeline and for the table of timings."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline, self._laps = timeline, dict[str, float]()

    @contextmanager
    def lap(self, phase: str, step: int) -> Iterator[None]:
        began = time.perf_counter()
        with self._timeline.span("learner", phase, step):
            yield
        self._laps[phase] = time.perf_counter() - began

    def timings(self, tokens: float) -> dict[str, float]:
        """Return the seconds of each phase and the tokens per second. `save` is still running: it is that of the step
        before."""
        laps = {f"seconds/{phase}": seconds for phase, seconds in self._laps.items()}
        return laps | {"tokens_per_second": tokens / sum(laps.values())}
