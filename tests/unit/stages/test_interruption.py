"""Stages in processes of their own that are killed, stopped, doubled and orphaned, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from reforge.errors import UserError
from reforge.lineage import graph
from reforge.machine.process import exclusive


def start(stage: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "fake.py", stage], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    )


def wait_for(there: Callable[[], bool]) -> None:
    for _ in range(1200):
        if there():
            return
        time.sleep(0.05)
    pytest.fail("waited a minute in vain")


def third_step_is_kept() -> bool:
    return any(path.read_text() == "3" for path in Path(".scratch").glob("sft@cold-*/step"))


@pytest.fixture
def ready_for_sft(project: Path) -> None:
    for folder in ("outputs/base/policy/model", "outputs/curate/problems/data"):
        (project / folder).mkdir(parents=True)


@pytest.mark.usefixtures("ready_for_sft")
def test_killed_and_started_again_it_goes_on_and_ends_equal() -> None:
    first = start("sft@cold", GO="go")
    wait_for(third_step_is_kept)
    first.kill()
    first.wait()
    assert not Path("outputs/sft/cold").exists()
    Path("go").touch()
    assert start("sft@cold", GO="go").wait() == 0
    steps = [json.loads(line) for line in Path("outputs/sft/cold/metrics.jsonl").read_text().splitlines()]
    assert steps == [{"step": step, "loss": 1.0 / step} for step in range(1, 6)]
    assert list(Path(".scratch").iterdir()) == []


@pytest.mark.usefixtures("ready_for_sft")
def test_other_parameters_do_not_find_the_checkpoint_of_these() -> None:
    first = start("sft@cold", GO="go")
    wait_for(third_step_is_kept)
    first.kill()
    first.wait()
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("warmup_steps: 7", "warmup_steps: 8"))
    Path("go").touch()
    assert start("sft@cold", GO="go").wait() == 0
    resumed = [path for path in Path(".scratch").iterdir() if (path / "step").read_text() == "3"]
    assert len(resumed) == 1  # still there, for those who change the parameter back


@pytest.mark.usefixtures("ready_for_sft")
def test_a_second_process_is_refused_and_told_which_is_the_first() -> None:
    first = start("sft@cold", GO="go")
    try:
        wait_for(third_step_is_kept)
        with (
            pytest.raises(UserError, match=f"^Stage 'sft@cold' is already running as process {first.pid} "),
            exclusive(Path(".runs/sft@cold/lock"), "Stage 'sft@cold'", patience=0.3),
        ):
            pass
    finally:
        first.kill()
        first.wait()


@pytest.mark.usefixtures("ready_for_sft")
def test_a_polite_stop_unwinds_and_tells_mlflow() -> None:
    first = start("sft@cold", GO="go")
    wait_for(third_step_is_kept)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 128 + signal.SIGTERM
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    experiment = client.get_experiment_by_name("reforge")
    runs = client.search_runs([experiment.experiment_id], "tags.`reforge.stage` = 'sft@cold'")
    assert [run.info.status for run in runs] == ["KILLED"]


@pytest.mark.usefixtures("ready_for_sft")
def test_kill_9_of_dvc_takes_the_stage_along() -> None:
    dvc = subprocess.Popen(["dvc", "repro", "-q", "-s", "sft@cold"], env={**os.environ, "GO": "go"})
    wait_for(third_step_is_kept)
    pid = int(Path(".runs/sft@cold/lock").read_text())
    dvc.kill()
    dvc.wait()

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] == "Z"
        except OSError:
            return True

    wait_for(gone)
    Path("go").touch()
    assert (
        subprocess.run(["dvc", "repro", "-q", "-s", "sft@cold"], env={**os.environ, "GO": "go"}, check=False).returncode
        == 0
    )
    assert graph.locked("sft@cold")["outs"]
