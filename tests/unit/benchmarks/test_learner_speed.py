"""Several recordings make one claim: hand-worked ratios and intervals."""

import pytest

from benchmarks.learner.speed import beside


def recording(lengths: str, trl: float, ours: float) -> dict:
    """The first round, which warms up, says something else."""
    return {"lengths": lengths, "TRL": [9.0, trl, 4 * trl], "ours": [1.0, ours, 4 * ours]}


def test_all_recordings_count_and_no_goal_is_met_by_a_few() -> None:
    four = [recording("equal", 3.0, 2.0) for _ in range(3)] + [recording("equal", 6.0, 2.0)]
    whole, least, most = beside("equal", [*four, recording("long-tailed", 9.0, 1.0)])
    assert whole["value"] == pytest.approx((1.5**3 * 3) ** (1 / 4), rel=1e-3)
    assert "4 recordings" in whole["claim"]
    assert whole["met"] is None
    assert (least["value"], most["value"]) == (1.5, 3.0)


@pytest.mark.parametrize(
    ("ratios", "met"),
    [
        ((1.5, 1.5, 1.5, 1.5, 1.5), True),
        ((1.25, 1.25, 1.25, 1.25, 1.25), False),  # without spread, and yet below 1.3
        ((1.5, 1.5, 1.5, 1.5, 0.5), False),
        ((1.1, 2.0, 1.1, 2.0, 2.0), False),  # 1.574, but its lower end is 1.04
    ],
)
def test_both_the_ratio_and_the_lower_end_of_its_interval_have_a_goal(ratios: tuple[float, ...], met: bool) -> None:
    assert beside("equal", [recording("equal", ratio, 1.0) for ratio in ratios])[0]["met"] is met


def test_the_interval_is_over_recordings() -> None:
    """Rounds of 0.5 and 2 in each of five recordings are five recordings of 1."""
    steps = {"lengths": "equal", "TRL": [9.0, 1.0, 4.0], "ours": [1.0, 2.0, 2.0]}
    assert "interval 1 to 1)" in beside("equal", [steps] * 5)[0]["claim"]
