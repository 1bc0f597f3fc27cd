"""Show grading on the timeline."""

from __future__ import annotations

from dataclasses import dataclass
from threading import current_thread

from reforge.records import Reward, Rollout
from reforge.rollouts.play import Environment, Past
from reforge.tracking.timeline import Timeline


@dataclass(frozen=True)
class Watched:
    """An environment whose grading, of the rollouts of `step`, is seen on the timeline."""

    environment: Environment
    timeline: Timeline
    step: int

    def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
        return self.environment.prompt(problem_id, past)

    def grade(self, rollout: Rollout) -> Reward:
        grader = current_thread().name.rpartition("_")[2]
        with self.timeline.span(f"grader {grader}", "grade", self.step):
            return self.environment.grade(rollout)
