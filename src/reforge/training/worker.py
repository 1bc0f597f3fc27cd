"""The rollout worker: batch after batch is sampled and graded beside the learner, in a thread of rank 0.

What it does next is fixed by the schedule: it waits for the policy version that a batch is to be drawn from, never for
the clock, and so it is never more than `staleness` batches ahead. Each rollout is graded the moment it is finished, and
while the last ones of a batch are graded the next batch may already be sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from reforge.errors import InfrastructureError
from reforge.records import Group
from reforge.rollouts.play import Played
from reforge.rollouts.sampler import Sampler, Weights
from reforge.tracking.timeline import Timeline
from reforge.training.schedule import version_for


@dataclass(frozen=True)
class Draw:
    """A sampled batch. `parity` is the gap found when its policy was handed over, `pause_seconds` how long the samplers
    were stopped for that."""

    step: int
    played: Played
    parity: float
    pause_seconds: float


class RolloutWorker:
    """The worker. `draw(step)` samples a batch, whose last rollouts may still be being graded when it returns."""

    def __init__(self, sampler: Sampler, draw: Callable[[int], Played], staleness: int, timeline: Timeline) -> None:
        self._sampler, self._draw, self._staleness, self._timeline = sampler, draw, staleness, timeline
        self._published: SimpleQueue[Weights | None] = SimpleQueue()
        self._drawn: SimpleQueue[Draw | BaseException] = SimpleQueue()

    def start(self, first: int, last: int) -> None:
        """Begin with the batch of step `first`. The policy versions that it and those after it ask for must be
        published in their order."""
        Thread(target=self._work, args=(first, last), name="rollout worker", daemon=True).start()

    def publish(self, weights: Weights) -> None:
        self._published.put(weights)

    def take(self) -> tuple[Draw, list[Group]]:
        """Return the next batch, all of it graded. Raises what went wrong in the worker."""
        drawn = self._drawn.get()
        if isinstance(drawn, BaseException):
            raise drawn
        groups = drawn.played.groups()
        self._check_versions(drawn.step, groups)
        return drawn, groups

    def close(self) -> None:
        self._published.put(None)

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
                    played = self._draw(step)
                self._drawn.put(Draw(step, played, parity, pause))
        except BaseException as error:
            self._drawn.put(error)

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
