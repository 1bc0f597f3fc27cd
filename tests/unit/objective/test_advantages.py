import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.objective.advantages import ADVANTAGES, centred, leave_one_out, normalised, soft_punishment


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
