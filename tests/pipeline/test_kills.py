"""The kills of benchmarks/reproducible/kills.py in short: whatever is hit, the same comes out."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

from benchmarks.reproducible.killing import PARTS, disturbed
from benchmarks.reproducible.kills import history, tracked
from reforge.lineage.compare import differences

TURNS = ["everything", "stage", "grader", "conductor", "everything", "stage"]  # the vLLM server is that of all tests
STAGES = {"sft@cold": 6.0, "rl@short": 12.0}


def test_killed_six_times_the_outputs_and_the_metrics_are_those_of_the_undisturbed_run(
    smoke: Path, tmp_path: Path
) -> None:
    project, draw = tmp_path / "project", random.Random(0)
    shutil.copytree(smoke, project, ignore=shutil.ignore_patterns("cache", ".runs"), symlinks=True)
    for made in ("sft/cold", "rl"):
        shutil.rmtree(project / "outputs" / made)
    assert set(TURNS) <= set(PARTS)
    hits = [(stage, draw.uniform(0.5, longest)) for stage, longest in STAGES.items() for _ in range(3)]
    kills = disturbed(project, [sys.executable, "-m", "dvc", "repro", "rl@short"], hits, TURNS[::-1], None, {})
    assert len(kills) >= 5, kills
    for made in ("sft/cold", "rl/short"):
        assert differences(smoke / "outputs" / made, project / "outputs" / made) == []
    ours, theirs = tracked(project), tracked(smoke)
    for stage in STAGES:
        assert ours[stage].info.run_id != theirs[stage].info.run_id
        assert history(project, ours[stage]) == history(smoke, theirs[stage])
