from collections.abc import Iterator

import pytest

from reforge.sandbox.judge import Judge, Limits


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(Limits(cpu_seconds=1.0, wall_seconds=2.5, memory_mb=256, output_kb=64), workers=2) as judge:
        yield judge
