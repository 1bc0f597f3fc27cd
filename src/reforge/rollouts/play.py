"""Attempts at problems, turn by turn: sampling and grading together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from reforge.errors import UserError
from reforge.records import Group, Prompt, Reward, Rollout

Past = Sequence[tuple[Rollout, Reward]]  # the turns of one attempt so far
Sample = Callable[[Sequence[Prompt]], Iterator[Rollout]]  # a rollout of each prompt, in whatever order they finish


class Environment(Protocol):
    """The environment that the policy acts in: it says what the policy is asked next, and what an answer earned. It
    knows nothing of learning."""

    def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
        """Return the token ids of the next turn, of the first where `past` is empty; None ends the attempt."""
        ...

    def grade(self, rollout: Rollout) -> Reward:
        """Return what the rollout earned. Called from several threads. Nothing that the policy did may raise; a value
        of None is for what the machine failed at."""
        ...


@dataclass(frozen=True)
class Played:
    """Attempts whose last turn may still be being graded, by problem and index."""

    attempts: dict[tuple[str, int], list[tuple[Rollout, Future[Reward]]]]

    def groups(self) -> list[Group]:
        """Wait for the last reward, and return a group for each problem: in the order asked, the attempts by index and
        each of them turn by turn, so the order of finishing leaves no trace."""
        members: dict[str, list[tuple[Rollout, Reward]]] = {}
        for (problem_id, _), turns in self.attempts.items():
            members.setdefault(problem_id, []).extend((rollout, reward.result()) for rollout, reward in turns)
        return [
            Group(problem_id, tuple(rollout for rollout, _ in found), tuple(reward for _, reward in found))
            for problem_id, found in members.items()
        ]


def play(
    environment: Environment,
    sample: Sample,
    problem_ids: Sequence[str],
    attempts: int,
    turns: int,
    graders: Executor,
    room: int,
) -> Played:
    """Make `attempts` at each problem, of at most `turns` turns. A turn of all attempts is one wave in a fixed order,
    so what is drawn does not depend on which of them finishes first; a rollout is graded the moment it finishes. An
    attempt ends early where the environment says so, or where the machine failed at one of its turns. Returns when the
    last wave is sampled; by then its last rollouts are still being graded.
    """
    played = Played({(problem_id, index): [] for problem_id in problem_ids for index in range(attempts)})
    for turn in range(turns):
        wave = [
            Prompt(problem_id, ids, index, turn)
            for (problem_id, index), past in played.attempts.items()
            if (ids := _next(environment, problem_id, past, turn, room)) is not None
        ]
        if not wave:
            break
        for rollout in sample(wave):
            reward = graders.submit(environment.grade, rollout)
            played.attempts[rollout.problem_id, rollout.index].append((rollout, reward))
    return played


def _next(
    environment: Environment, problem_id: str, turns: Sequence[tuple[Rollout, Future[Reward]]], turn: int, room: int
) -> tuple[int, ...] | None:
    """Return the token ids of an attempt's next prompt, or None where the attempt has ended. Raises UserError where it
    cannot even begin."""
    past = [(rollout, reward.result()) for rollout, reward in turns]
    if len(past) < turn or any(reward.value is None for _, reward in past):
        return None
    ids = environment.prompt(problem_id, past)
    if turn == 0 and ids is None:
        raise UserError(f"The environment asks nothing about {problem_id}: every attempt has at least one turn.")
    if turn == 0 and len(ids or ()) > room:
        raise UserError(
            f"The first prompt for {problem_id} has {len(ids or ())} tokens, and beside the longest answer the model's "
            f"context has room for {room}."
        )
    return None if ids is None or len(ids) > room else ids
