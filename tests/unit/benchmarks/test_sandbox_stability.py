"""The count of verdicts that differ, by hand."""

from benchmarks.sandbox.stability import claims_of


def test_flips_are_counted_inside_and_outside_of_the_edge() -> None:
    shares = [0.9, 0.95, 1.0, 1.04, 1.1]
    first = [("AC", 0.9), ("AC", 0.95), ("AC", 1.0), ("AC", 1.0), ("TLE", 1.1)]
    second = [("AC", 0.9), ("TLE", 1.2), ("TLE", 1.01), ("TLE", 0.9), ("TLE", 1.1)]
    outside, inside, undecided = claims_of(shares, [first, second], 1.0)
    assert (outside["value"], outside["met"]) == (1, False)  # 0.95
    assert inside["value"] == 2  # 1.0 and 1.04
    assert undecided["value"] == 1  # 0.9 s, and yet TLE
    assert all(claim["met"] in (True, None) for claim in claims_of(shares, [first, first], 1.0))
