"""Sampling and grading together: each rollout is handed to the sandbox the moment it finishes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from reforge.records import Group, Prompt, Reward, Rollout

Grading = dict[tuple[str, int], tuple[Rollout, Future[Reward]]]  # by problem and index


def score_as_they_finish(
    rollouts: Iterable[Rollout], score: Callable[[Rollout], Reward], prompts: Sequence[Prompt], threads: int
) -> list[Group]:
    """Groups in the order of `prompts`, rollouts by index: the order of finishing leaves no trace."""
    with ThreadPoolExecutor(threads) as pool:
        return groups_of(prompts, begin_grading(rollouts, score, pool))


def begin_grading(rollouts: Iterable[Rollout], score: Callable[[Rollout], Reward], pool: ThreadPoolExecutor) -> Grading:
    """Returns when the last rollout is sampled; by then the last ones are still being graded."""
    return {(rollout.problem_id, rollout.index): (rollout, pool.submit(score, rollout)) for rollout in rollouts}


def groups_of(prompts: Sequence[Prompt], grading: Grading) -> list[Group]:
    """Waits for the last verdict."""
    groups = []
    for prompt in prompts:
        members = [grading[key] for key in sorted(key for key in grading if key[0] == prompt.problem_id)]
        rollouts, rewards = (
            tuple(part) for part in zip(*((one, future.result()) for one, future in members), strict=True)
        )
        groups.append(Group(prompt.problem_id, rollouts, rewards))
    return groups
