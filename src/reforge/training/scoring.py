"""Sampling and grading together: each rollout is handed to the sandbox the moment it finishes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from reforge.types import Group, Prompt, Reward, Rollout


def score_as_they_finish(
    rollouts: Iterable[Rollout], score: Callable[[Rollout], Reward], prompts: Sequence[Prompt], threads: int
) -> list[Group]:
    """Groups in the order of `prompts`, rollouts by index: the order of finishing leaves no trace."""
    futures: dict[str, dict[int, tuple[Rollout, Future[Reward]]]] = defaultdict(dict)
    with ThreadPoolExecutor(threads) as pool:
        for rollout in rollouts:
            futures[rollout.problem_id][rollout.index] = (rollout, pool.submit(score, rollout))
    groups = []
    for prompt in prompts:
        members = [futures[prompt.problem_id][index] for index in sorted(futures[prompt.problem_id])]
        groups.append(
            Group(
                prompt.problem_id,
                tuple(rollout for rollout, _ in members),
                tuple(future.result() for _, future in members),
            )
        )
    return groups
