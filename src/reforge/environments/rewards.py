"""The reward of a rollout is a weighted sum of named parts, each a pure function of what was graded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reforge.environments.template import Parsed
from reforge.errors import UserError, raised_at
from reforge.records import Problem, Reward, Rollout, Verdict


@dataclass(frozen=True)
class Graded:
    """A graded rollout, which every part of its reward is computed from."""

    problem: Problem
    rollout: Rollout
    parsed: Parsed
    verdict: Verdict


Part = Callable[[Graded], float]


def accuracy(graded: Graded) -> float:
    """Return DeepCoder's sparse reward: 1 if every test passes in time, or the answer is right, else 0. Passing only
    some tests earns nothing."""
    return float(graded.verdict.solved is True)


def well_formed(graded: Graded) -> float:
    """Return 1 where the completion thinks once, ends the thinking and then answers, else 0 (DeepSeek-R1, section
    2.2.2)."""
    return float(graded.parsed.well_formed)


PARTS: dict[str, Part] = {"accuracy": accuracy, "format": well_formed}


@dataclass(frozen=True)
class Rewards:
    """The weighted sum of named parts. `weights`: the weight of each part; `own`: those of the parts that are the
    user's functions."""

    weights: Mapping[str, float]
    own: Mapping[str, Part]

    def __call__(self, graded: Graded) -> Reward:
        """Return the reward; without a value where the verdict says nothing about the program. Raises UserError where a
        part of the user's does not return a finite number."""
        verdict = graded.verdict
        if not verdict.conclusive:
            return Reward(None, None, {}, verdict)
        parts = {name: self._part(name, graded) for name in self.weights}
        return Reward(sum(self.weights[name] * value for name, value in parts.items()), verdict.solved, parts, verdict)

    def _part(self, name: str, graded: Graded) -> float:
        if name not in self.own:
            return PARTS[name](graded)
        rollout = f"rollout {graded.rollout.problem_id}/{graded.rollout.index}"
        try:
            value = float(self.own[name](graded))
        except Exception as error:  # whatever a user's function raises
            place = raised_at(error)
            raise UserError(f"The part {name!r} of the reward failed for {rollout}: {error!r} at {place}.") from error
        if not math.isfinite(value):
            raise UserError(f"The part {name!r} of the reward is {value} for {rollout}, and must be a finite number.")
        return value
