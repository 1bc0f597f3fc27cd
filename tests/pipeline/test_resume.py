"""A stage killed outright and started again ends as if nothing had happened, and repeats no finished step."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipeline.projects import BIN, run
from tests.pipeline.test_staleness import same

pytestmark = pytest.mark.timeout(600)


def test_rl_killed_after_a_step_resumes_to_the_same_bytes_on_a_server_of_its_own(smoke: Path, tmp_path: Path) -> None:
    """The uninterrupted run used a server given by URL; this one starts its own, twice: that must not show either."""
    project = tmp_path / "project"
    shutil.copytree(smoke, project, ignore=shutil.ignore_patterns("cache", ".runs"), symlinks=True)
    run(["reforge", "compose", "experiment=smoke"], project)
    shutil.rmtree(project / "outputs/rl")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": f"{project / 'src'}:{project}"}
    with (tmp_path / "killed.log").open("wb") as log:
        killed = subprocess.Popen(
            ["reforge", "stage", "rl@16k"], cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            states = wait_for_step(project, 1, killed)
        finally:
            os.killpg(killed.pid, signal.SIGKILL)
            killed.wait()
    assert not (project / "outputs/rl").exists(), "half an output was put in place"

    run(["reforge", "stage", "rl@16k"], project)
    assert not states.exists(), "the scratch folder is left behind"
    assert same(smoke / "outputs/rl/16k", project / "outputs/rl/16k")
    timings = [json.loads(line) for line in (project / ".runs/rl@16k/timings.jsonl").read_text().splitlines()]
    assert [line["step"] for line in timings] == [1, 2], "a finished step was repeated"


def wait_for_step(project: Path, step: int, process: subprocess.Popen[bytes]) -> Path:
    """The checkpoint's mark of that step, once it is there."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found = list(project.glob(f".scratch/rl@16k-*/checkpoint/{step:06d}/step.json"))
        if found:
            return found[0]
        assert process.poll() is None, "the stage ended before it could be killed"
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step} after four minutes")
