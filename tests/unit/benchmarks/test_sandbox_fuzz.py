"""A slice of the campaign, and faults of each kind planted: a campaign that finds nothing must not be blind."""

import pytest

from benchmarks.sandbox.fuzz import PLANTED, Campaign
from benchmarks.sandbox.hostile import PLANNED, hostile


def test_nothing_hostile_leaves_the_judge() -> None:
    campaign = Campaign(seed=1)
    campaign.run(range(160))
    assert not campaign.left
    assert not campaign.failed
    assert not campaign.ended
    assert not campaign.unwritable
    assert not campaign.unscored
    assert sum(campaign.verdicts.values()) == 160
    assert {name.split()[0] for name in campaign.verdicts} == {"stdin", "call", "assert", "answer"}


@pytest.fixture(scope="module")
def usual() -> float:
    campaign = Campaign(seed=1)
    campaign.run(range(len(PLANNED)))
    return campaign.slowest


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str, usual: float) -> None:
    campaign = Campaign(seed=1)
    with PLANTED[name]():
        campaign.run(range(len(PLANNED)))
    if name.startswith("quadratic"):
        assert campaign.slowest > 10 * usual  # of the judge's own CPU time, however busy or quick the machine is
    else:
        assert campaign.left or campaign.failed or campaign.unwritable or campaign.ended


def test_inputs_are_made_from_the_seed() -> None:
    assert [hostile(3, n) for n in range(50)] == [hostile(3, n) for n in range(50)]
    assert hostile(3, 40) != hostile(4, 40)
