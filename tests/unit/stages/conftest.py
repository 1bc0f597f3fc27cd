"""Curation without a sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reforge.frame.context import StageContext
from reforge.stages import curate
from tests.unit.stages.curated import Accepting


@pytest.fixture
def judged_by_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def judge_of(ctx: StageContext) -> Iterator[Accepting]:
        yield Accepting()

    monkeypatch.setattr(curate, "curation_judge", judge_of)
