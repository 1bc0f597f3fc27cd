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


@pytest.mark.parametrize(("last", "met"), [(3.0, True), (0.5, False)])
def test_the_lower_end_of_the_interval_meets_the_goal_of_1_2(last: float, met: bool) -> None:
    """Ten ratios, two of each recording. Eight of 1.5 and two of 1.5: no spread; with two of 0.25 the mean is 1.048."""
    five = [recording("equal", 3.0, 2.0) for _ in range(4)] + [recording("equal", last, 2.0)]
    assert beside("equal", five)[0]["met"] is met
