import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.objective.credit import ADVANTAGES, centred, leave_one_out, normalised, returns_of, soft_punishment


def test_by_hand() -> None:
    # mean 0.25, unbiased std of (1, 0, 0, 0) = 0.5; the mean of the others: 0 for the first, 1/3 for the rest
    rewards = [1.0, 0.0, 0.0, 0.0]
    assert normalised(rewards) == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-5)
    assert centred(rewards) == pytest.approx([0.75, -0.25, -0.25, -0.25])
    assert leave_one_out(rewards) == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])


@pytest.mark.parametrize("advantage", ADVANTAGES.values(), ids=ADVANTAGES)
@pytest.mark.parametrize("rewards", [[], [1.0], [0.0, 0.0, 0.0], [1.0, 1.0], [0.1, 0.1, 0.1]])
def test_trap_17_groups_that_teach_nothing_are_zero_not_nan_and_not_blown_up(advantage, rewards) -> None:  # type: ignore[no-untyped-def]
    assert advantage(rewards) == [0.0] * len(rewards)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=16), st.sampled_from(sorted(ADVANTAGES)))
def test_mean_zero_and_order_of_rewards_kept(rewards: list[float], name: str) -> None:
    advantages = ADVANTAGES[name](rewards)
    assert statistics.fmean(advantages) == pytest.approx(0.0, abs=1e-9)
    if len(set(rewards)) > 1:
        assert all((a > 0) == (r == 1.0) for a, r in zip(advantages, rewards, strict=True))


def test_the_soft_punishment_by_hand() -> None:
    # limit 100, buffer 20: free up to 80, half at 90, all at 100 and beyond
    punished = [soft_punishment(tokens, 100, 20) for tokens in (1, 80, 90, 100, 120)]
    assert punished == pytest.approx([0.0, 0.0, -0.5, -1.0, -1.0])


ATTEMPTS, REWARDS = [0, 0, 0, 1, 1], [0.0, 1.0, 0.5, 2.0, 0.0]


@pytest.mark.parametrize(
    ("discount", "returns"),
    [
        (0.0, [0.0, 1.0, 0.5, 2.0, 0.0]),
        (0.4, [0.0 + 0.4 * 1.0 + 0.16 * 0.5, 1.0 + 0.4 * 0.5, 0.5, 2.0, 0.0]),
        (1.0, [1.5, 1.5, 0.5, 2.0, 0.0]),
    ],
)
def test_returns_by_hand(discount: float, returns: list[float]) -> None:
    assert returns_of(ATTEMPTS, REWARDS, discount) == pytest.approx(returns)


@pytest.mark.parametrize("discount", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_turn_without_a_reward_takes_its_attempt_out_whole(discount: float, lost: int) -> None:
    rewards = [None if place == lost else value for place, value in enumerate(REWARDS)]
    assert returns_of(ATTEMPTS, rewards, discount) == [None, None, None, *returns_of([1, 1], REWARDS[3:], discount)]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.floats(0, 1))
def test_one_turn_each_leaves_the_rewards_to_the_bit(values: list[float], discount: float) -> None:
    assert returns_of(range(len(values)), values, discount) == values
