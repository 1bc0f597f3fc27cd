import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.advantages import group_normalised


def test_by_hand():
    # mean 0.25, unbiased std of (1, 0, 0, 0) = 0.5
    assert group_normalised([1.0, 0.0, 0.0, 0.0]) == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-5)


@pytest.mark.parametrize("rewards", [[], [1.0], [0.0, 0.0, 0.0], [1.0, 1.0]])
def test_groups_that_teach_nothing_are_none_not_nan(rewards):
    assert group_normalised(rewards) is None


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=16))
def test_mean_zero_and_order_of_rewards_kept(rewards):
    advantages = group_normalised(rewards)
    if advantages is None:
        assert len(set(rewards)) == 1
        return
    assert statistics.fmean(advantages) == pytest.approx(0.0, abs=1e-9)
    assert all((a > 0) == (r == 1.0) for a, r in zip(advantages, rewards, strict=True))
