"""The curate stage in processes of its own: killed and started again, and with other numbers of workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from benchmarks.problems.resumed import command, outcome, prepare, verdicts
from tests.pipeline.projects import clone, run


def test_killed_and_started_again_it_ends_in_the_same_bytes_and_repeats_nothing(tmp_path: Path) -> None:
    """`benchmarks/problems/resumed.py` kills it 25 times, at random moments."""
    project = clone(tmp_path / "project")
    prepare(project, 30, 20_000)
    first = command(project, "stage", "curate@problems")
    while len(verdicts(project)) < 20:
        assert first.poll() is None, (project / "log").read_text()
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (project / "outputs" / "curate" / "problems").exists()
    run(["reforge", "stage", "curate@problems"], project)
    asked, resumed = verdicts(project), outcome(project)
    assert len(asked) == len(set(asked)) > 60

    # uninterrupted, and with another number of workers
    (project / ".runs" / "verdicts.jsonl").unlink()
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("  urls: []\n  workers: 2\n", "  urls: []\n  workers: 3\n"))
    assert "workers: 3" in (project / "params.yaml").read_text()
    run(["reforge", "stage", "curate@problems"], project)
    assert outcome(project) == resumed
    assert set(verdicts(project)) == set(asked)
