"""The rollout worker: batch after batch is sampled and graded beside the learner, in a thread of rank 0.

What it does next is fixed by the schedule: it waits for the policy version that a batch is to be drawn from, never for
the clock, and so it is never more than `staleness` batches ahead. Each rollout is graded the moment it is finished, and
while the last ones of a batch are graded the next batch may already be sampled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Thread

from reforge.errors import InfrastructureError
from reforge.records import Group, Prompt, Reward, Rollout
from reforge.rollouts.sampler import Sampler, Weights
from reforge.tracking.timeline import Timeline
from reforge.training.schedule import version_for
from reforge.training.scoring import Grading, begin_grading, groups_of


@dataclass(frozen=True)
class Draw:
    """A sampled batch. `parity` is the gap found when its policy was handed over; `pause_seconds` what that took of
    the samplers' time."""

    step: int
    prompts: Sequence[Prompt]
    grading: Grading
    parity: float
    pause_seconds: float


class RolloutWorker:
    """`draw(step)` names the prompts of a batch and begins to sample it; `grade` is called from `graders` threads."""

    def __init__(
        self,
        sampler: Sampler,
        draw: Callable[[int], tuple[Sequence[Prompt], Iterator[Rollout]]],
        grade: Callable[[Rollout], Reward],
        graders: int,
        staleness: int,
        timeline: Timeline,
    ) -> None:
        self._sampler, self._draw, self._grade = sampler, draw, grade
        self._staleness, self._timeline = staleness, timeline
        self._published: SimpleQueue[Weights | None] = SimpleQueue()
        self._drawn: SimpleQueue[Draw | BaseException] = SimpleQueue()
        self._graders = ThreadPoolExecutor(graders, "grader")

    def start(self, first: int, last: int) -> None:
        """Begin with the batch of step `first`; the policy versions it and those after it ask for must be published in
        their order."""
        Thread(target=self._work, args=(first, last), name="rollout worker", daemon=True).start()

    def publish(self, weights: Weights) -> None:
        self._published.put(weights)

    def take(self) -> tuple[Draw, list[Group]]:
        """The next batch, all of it graded. Raises what went wrong in the worker."""
        drawn = self._drawn.get()
        if isinstance(drawn, BaseException):
            raise drawn
        groups = groups_of(drawn.prompts, drawn.grading)
        self._check_versions(drawn.step, groups)
        return drawn, groups

    def close(self) -> None:
        self._published.put(None)
        self._graders.shutdown(wait=False, cancel_futures=True)

    def _work(self, first: int, last: int) -> None:
        held: int | None = None
        parity = pause = 0.0
        try:
            for step in range(first, last + 1):
                version = version_for(step, self._staleness)
                if held != version:
                    with self._timeline.span("sampler", "wait", step):
                        weights = self._published.get()
                    if weights is None:
                        return
                    with self._timeline.span("sampler", "load weights", step):
                        parity = self._sampler.load(weights)
                    held, pause = weights.version, self._sampler.pause_seconds
                with self._timeline.span("sampler", "sample", step):
                    prompts, rollouts = self._draw(step)
                    grading = begin_grading(rollouts, partial(self._graded, step), self._graders)
                self._drawn.put(Draw(step, prompts, grading, parity, pause))
        except BaseException as error:
            self._drawn.put(error)

    def _graded(self, step: int, rollout: Rollout) -> Reward:
        with self._timeline.span(f"grader {threading.current_thread().name.rpartition('_')[2]}", "grade", step):
            return self._grade(rollout)

    def _check_versions(self, step: int, groups: Sequence[Group]) -> None:
        wanted = version_for(step, self._staleness)
        for group in groups:
            for rollout in group.rollouts:
                if any(version != wanted for version in rollout.policy_versions):
                    raise InfrastructureError(
                        f"Step {step}: tokens of a rollout of {rollout.problem_id} were drawn from the policy "
                        f"versions {sorted(set(rollout.policy_versions))}, and the schedule says {wanted}. Does "
                        "another run use the same sampler?"
                    )
