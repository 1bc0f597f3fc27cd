from collections.abc import Iterator

import pytest

from reforge.sandbox.judge import Judge
from tests.attacks.levels import OFFERED, STRICT, judge_at


@pytest.fixture(scope="session", params=OFFERED)
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def judge(level: str) -> Iterator[Judge]:
    with judge_at(level) as judge:
        yield judge


@pytest.fixture(scope="session")
def strict(level: str) -> Iterator[Judge]:
    with judge_at(level, STRICT) as judge:
        yield judge
