"""A judge for the tests of a file."""

from collections.abc import Iterator

import pytest

from reforge.sandbox.judge import Judge
from tests.unit.sandbox.problems import LIMITS


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(LIMITS, workers=2) as judge:
        yield judge
