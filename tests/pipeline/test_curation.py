"""The curate stage in processes of its own: killed and started again, and with other numbers of workers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.problems_resumed import curated, outcome, prepare, verdicts
from tests.pipeline.projects import clone, run

pytestmark = pytest.mark.timeout(600)


def test_killed_and_started_again_it_ends_in_the_same_bytes_and_repeats_nothing(tmp_path: Path) -> None:
    calm, disturbed = clone(tmp_path / "calm"), clone(tmp_path / "disturbed")
    for project in (calm, disturbed):
        prepare(project, 40, 100_000)
    assert curated(calm, 0, random.Random(0), 1.0) == []
    assert len(curated(disturbed, 1, random.Random(1), 6.0)) == 1
    assert outcome(disturbed) == outcome(calm)
    asked = verdicts(disturbed)
    assert len(asked) == len(set(asked))
    assert set(asked) == set(verdicts(calm))

    # a second run of the same set, with another number of workers, asks for nothing and writes the same
    params = (calm / "params.yaml").read_text()
    (calm / "params.yaml").write_text(params.replace("  urls: []\n  workers: 2\n", "  urls: []\n  workers: 1\n"))
    assert "workers: 1" in (calm / "params.yaml").read_text()
    before = outcome(calm)
    run(["reforge", "stage", "curate"], calm)
    assert outcome(calm) == before
    assert len(verdicts(calm)) == len(set(asked))
