"""Batches of fixed prompts for the real loop, graded by a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from reforge.config.training import Rl
from reforge.records import Reward, Rollout
from reforge.rollouts.play import Past, Played, play
from reforge.rollouts.sampler import Sampler, Sampling
from reforge.tracking.timeline import Timeline
from reforge.training.grpo import problems_of_step
from reforge.training.watched import Watched


@dataclass(frozen=True)
class Fixed:
    """An environment of one turn, with fixed `prompts` by problem, where `score` grades a completion."""

    prompts: Mapping[str, tuple[int, ...]]
    score: Callable[[Rollout], Reward]

    def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
        return None if past else self.prompts[problem_id]

    def grade(self, rollout: Rollout) -> Reward:
        return self.score(rollout)


def drawing(
    sampler: Sampler, fixed: Fixed, config: Rl, graders: ThreadPoolExecutor, timeline: Timeline
) -> Callable[[int], Played]:
    """Return how a step's batch is drawn, as the stage does it (stages/rl.py), with the seed 0."""

    def draw(step: int) -> Played:
        chosen = problems_of_step(list(fixed.prompts), config.batch, step, 0)
        sampling = Sampling(config.temperature, 1.0, config.max_tokens)
        sample = partial(sampler.sample, sampling=sampling, seed=f"0/{step}")
        return play(Watched(fixed, timeline, step), sample, chosen, config.group_size, 1, graders, 10**9)

    return draw
