import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.errors import UserError
from reforge.evaluation.statistics import mean_interval, paired_difference, pass_at_k, rate_interval

counts = st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
rates = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=2, max_size=30)


def test_pass_at_k_by_hand():
    assert pass_at_k(4, 1, 2) == pytest.approx(0.5)  # of the 6 pairs, 3 hold the correct one
    assert pass_at_k(10, 3, 5) == pytest.approx(1 - 21 / 252)  # C(7,5) / C(10,5)
    assert pass_at_k(4, 0, 4) == 0.0
    assert pass_at_k(4, 1, 4) == 1.0


def test_too_few_rollouts_are_not_a_success():
    assert math.isnan(pass_at_k(1, 1, 2))
    assert math.isnan(pass_at_k(0, 0, 1))


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match="pass@k needs"):
        pass_at_k(n, c, k)


@given(counts)
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(case):
    n, c, k = case
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws), abs=1e-12)


@given(counts)
def test_pass_at_k_never_falls_with_k_and_is_the_mean_at_one(case):
    n, c, _ = case
    curve = [pass_at_k(n, c, k) for k in range(1, n + 1)]
    assert curve[0] == pytest.approx(c / n)
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(curve))


def test_interval_by_hand():
    # scores 0, .5, .5, 1: mean .5, s = sqrt(1/6), t(0.975, 3) = 3.1824, margin 3.1824 · 0.40825 / 2 = 0.6496
    estimate = mean_interval([0.0, 0.5, 0.5, 1.0], 0.95, bounds=(-9, 9))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5 - 0.6496, 0.5 + 0.6496), abs=1e-4)
    clipped = mean_interval([0.0, 0.5, 0.5, 1.0], 0.95)
    assert (clipped.low, clipped.high) == (0.0, 1.0)


def test_twenty_failures_do_not_prove_a_rate_of_zero():
    estimate = mean_interval([0.0] * 20, 0.95)
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(0.1684, abs=1e-4)  # Clopper–Pearson for 0 of 20
    assert mean_interval([1.0] * 20, 0.95).low == pytest.approx(1 - 0.1684, abs=1e-4)


@pytest.mark.parametrize("interval", [mean_interval, rate_interval])
def test_a_mean_of_nothing_is_refused(interval):
    with pytest.raises(ValueError, match="at least one"):
        interval([], 0.95)


def test_a_rates_interval_by_hand():
    """Mean 0.5, s² = 0.125, half of 0.5 · 0.5. Three problems show a failure, three a success, so the design effect is
    (3 · 0.5 + 1) / 4 = 0.625, and the scores are worth 4 / 0.625 = 6.4 answers. Wilson for 3.2 of 6.4: ± 0.3062."""
    estimate = rate_interval([0.0, 0.5, 0.5, 1.0], 0.95)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.1938, 0.8062), abs=1e-4)


def test_a_rates_interval_is_wilsons_where_rollouts_of_a_problem_agree():
    """1.96² / (20 + 1.96²) for 0 of 20; and 2 of 10, from a table: 0.0567 to 0.5098."""
    none, all_of_them = rate_interval([0.0] * 20, 0.95), rate_interval([1.0] * 20, 0.95)
    assert (none.value, none.low, none.high) == (0.0, 0.0, pytest.approx(0.1611, abs=1e-4))
    assert (all_of_them.value, all_of_them.low, all_of_them.high) == (1.0, pytest.approx(0.8389, abs=1e-4), 1.0)
    two = rate_interval([1.0] * 2 + [0.0] * 8, 0.95)
    assert (two.low, two.high) == pytest.approx((0.0567, 0.5098), abs=1e-4)


@pytest.mark.parametrize("interval", [mean_interval, rate_interval])
@given(scores=rates)
def test_interval_holds_the_mean_and_grows_with_confidence(interval, scores):
    narrow, wide = interval(scores, 0.8), interval(scores, 0.99)
    assert 0 <= wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high <= 1


@given(rates)
def test_a_rates_interval_is_the_same_seen_from_failures(scores):
    solved, failed = rate_interval(scores, 0.95), rate_interval([1 - score for score in scores], 0.95)
    assert (solved.low, solved.high) == pytest.approx((1 - failed.high, 1 - failed.low))


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.98])
def test_a_rates_interval_covers_the_truth_as_often_as_it_says(rate):
    """2,000 evaluations of 100 problems of different difficulty, 4 rollouts each. Student's t reaches 87% at 0.02. The
    simulation itself is uncertain by a point."""
    rng = np.random.default_rng(0)
    ability_TP = rng.beta(2 * rate, 2 * (1 - rate), size=(2000, 100))
    scores_TP = rng.binomial(4, ability_TP) / 4
    estimates = [rate_interval(list(row), 0.95) for row in scores_TP]
    assert 0.93 <= np.mean([e.low <= rate <= e.high for e in estimates]) <= 0.98


def test_pairing_removes_the_spread_between_problems():
    easy_and_hard = {str(i): i % 2 * 0.75 for i in range(20)}
    better = {key: value + (0.25 if int(key) % 10 else 0.0) for key, value in easy_and_hard.items()}
    estimate = paired_difference(better, easy_and_hard, 0.95)
    assert estimate.value == pytest.approx(0.225)
    assert estimate.low > 0.15  # unpaired, the interval of either mean alone is ±0.18
    assert mean_interval(list(easy_and_hard.values()), 0.95).low < 0.375 - 0.15


@given(rates)
def test_paired_difference_changes_sign_with_the_order(scores):
    a = {str(i): value for i, value in enumerate(scores)}
    b = {str(i): value for i, value in enumerate(reversed(scores))}
    forward, back = paired_difference(a, b, 0.95), paired_difference(b, a, 0.95)
    assert (forward.value, forward.low, forward.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_different_problems_are_not_compared():
    with pytest.raises(UserError, match=r"1 of them were answered by one model only \(such as 'q'\)"):
        paired_difference({"p": 1.0, "q": 0.0}, {"p": 1.0}, 0.95)


def test_a_problem_unscored_for_one_model_leaves_the_comparison():
    a, b = {"p": 1.0, "q": 0.5, "r": math.nan}, {"p": 0.0, "q": 0.5, "r": 1.0}
    assert paired_difference(a, b, 0.95).value == pytest.approx(0.5)
    with pytest.raises(UserError, match="no problem has a scored rollout of both"):
        paired_difference({"r": math.nan}, {"r": 1.0}, 0.95)
