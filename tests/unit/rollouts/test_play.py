"""Attempts of several turns, with scripted samplers and environments."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from reforge.errors import UserError
from reforge.records import Prompt, Reward, Rollout, Status, Verdict
from reforge.rollouts.play import Past, play

DONE, FAILED = (3, 3), (9, 9)  # what a completion may be


def rollout(prompt: Prompt, tokens: tuple[int, ...] = (2,)) -> Rollout:
    count = len(tokens)
    return Rollout(
        prompt.problem_id,
        prompt.index,
        0,
        (0,) * count,
        prompt.token_ids,
        tokens,
        (-0.1,) * count,
        "stop",
        "",
        prompt.turn,
    )


class Scripted:
    """Each turn's prompt names the turns before it; `said` is what the policy answers, by (problem, index, turn)."""

    def __init__(self, said: dict[tuple[str, int, int], tuple[int, ...]] | None = None) -> None:
        self.said = said or {}
        self.waves: list[list[tuple[str, int, int]]] = []
        self.asked: dict[tuple[str, int, int], tuple[int, ...]] = {}

    def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
        if past and past[-1][0].token_ids == DONE:
            return None
        return (1, *(token for one, _ in past for token in one.token_ids))

    def grade(self, one: Rollout) -> Reward:
        if one.token_ids == FAILED:
            return Reward(None, None, {}, Verdict(Status.INFRASTRUCTURE))
        return Reward(float(one.turn), None, {}, None)

    def sample(self, wave: Sequence[Prompt]) -> Iterator[Rollout]:
        self.waves.append([(one.problem_id, one.index, one.turn) for one in wave])
        for one in reversed(wave):  # they finish in any order
            key = (one.problem_id, one.index, one.turn)
            self.asked[key] = one.token_ids
            yield rollout(one, self.said.get(key, (10 * one.turn + one.index,)))


def played(scripted: Scripted, turns: int, problems: Sequence[str] = ("b", "a"), attempts: int = 2, room: int = 99):
    with ThreadPoolExecutor(2) as pool:
        return play(scripted, scripted.sample, problems, attempts, turns, pool, room).groups()


def names(group) -> list[tuple[int, int]]:
    return [(one.index, one.turn) for one in group.rollouts]


def test_one_turn_is_a_group_for_each_problem_in_the_order_asked_whatever_finishes_first() -> None:
    scripted = Scripted()
    groups = played(scripted, 1)
    assert [group.problem_id for group in groups] == ["b", "a"]
    assert [names(group) for group in groups] == [[(0, 0), (1, 0)]] * 2
    assert scripted.waves == [[("b", 0, 0), ("b", 1, 0), ("a", 0, 0), ("a", 1, 0)]]


def test_a_turn_of_all_attempts_is_one_wave_and_each_prompt_holds_its_own_past() -> None:
    scripted = Scripted()
    (group, _) = played(scripted, 3)
    assert names(group) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [reward.value for reward in group.rewards] == [0.0, 1.0, 2.0] * 2
    assert [len(wave) for wave in scripted.waves] == [4, 4, 4]
    assert scripted.asked["b", 1, 2] == (1, 1, 11)
    assert [one.prompt_ids for one in group.rollouts[:3]] == [(1,), (1, 0), (1, 0, 10)]


def test_an_attempt_ends_where_the_environment_says_so_and_the_others_go_on() -> None:
    scripted = Scripted({("a", 0, 0): DONE})
    (group,) = played(scripted, 3, ["a"])
    assert names(group) == [(0, 0), (1, 0), (1, 1), (1, 2)]
    everybody = Scripted({("a", index, 0): DONE for index in range(2)})
    played(everybody, 3, ["a"])
    assert len(everybody.waves) == 1


def test_an_attempt_whose_turn_the_machine_failed_at_is_not_asked_again() -> None:
    scripted = Scripted({("a", 1, 1): FAILED})
    (group,) = played(scripted, 3, ["a"])
    assert names(group) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert group.rewards[-1].value is None


def test_a_rollout_is_graded_while_others_are_sampled_and_the_last_turn_is_not_waited_for() -> None:
    graded, go = threading.Event(), threading.Event()

    class Slow(Scripted):
        def grade(self, one: Rollout) -> Reward:
            graded.set()
            assert go.wait(30)
            return super().grade(one)

        def sample(self, wave: Sequence[Prompt]) -> Iterator[Rollout]:
            yield rollout(wave[0])
            assert graded.wait(30), "the first is not graded before the second is sampled"
            yield rollout(wave[1])

    slow = Slow()
    with ThreadPoolExecutor(2) as pool:
        found = play(slow, slow.sample, ["a"], 2, 1, pool, 99)
        go.set()  # only now a grade can end: play has returned without it
        assert names(found.groups()[0]) == [(0, 0), (1, 0)]


def test_what_grading_raises_comes_out_where_the_groups_are_taken() -> None:
    class Broken(Scripted):
        def grade(self, one: Rollout) -> Reward:
            raise ValueError("planted")

    broken = Broken()
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="planted"):
        play(broken, broken.sample, ["a"], 2, 1, pool, 99).groups()


def test_an_attempt_ends_where_its_next_prompt_leaves_no_room_for_the_longest_answer() -> None:
    """Prompts have 1, 2 and 3 tokens."""
    (group,) = played(Scripted(), 3, ["a"], room=2)
    assert names(group) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    with pytest.raises(UserError, match=r"first prompt for a has 1 tokens, .* room for 0"):
        played(Scripted(), 3, ["a"], room=0)


def test_an_environment_that_asks_nothing_is_refused() -> None:
    class Silent(Scripted):
        def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
            return None

    with pytest.raises(UserError, match="asks nothing about b"):
        played(Silent(), 1)
