"""The conductor over a graph of quick stages, with a real Prefect API behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reforge.errors import UserError
from reforge.lineage.graph import graph
from tests.pipeline.projects import calls, run

pytestmark = pytest.mark.usefixtures("prefect_api")


def last_tasks() -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)[0]
        return client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])))


def upstream(tasks: list[Any]) -> dict[str, set[str]]:
    names = {task.id: task.name for task in tasks}
    return {task.name: {names[before.id] for before in task.task_inputs.get("wait_for", [])} for task in tasks}


def test_an_experiment_that_there_is_not_is_told_and_leaves_the_values_as_they_are(quick: Path) -> None:
    from flows.pipeline import pipeline

    before = Path("params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"conf/experiment has no 'smok'; there are: .*smoke"):
        pipeline("smok")
    assert Path("params.yaml").read_bytes() == before
    assert calls(quick) == []


def test_tasks_and_their_order_are_those_of_dvc(quick: Path) -> None:
    from flows.pipeline import pipeline

    assert {o.stage: o.status for o in pipeline("smoke")} == dict.fromkeys(graph(), "ran")
    assert upstream(last_tasks()) == {name: set(before) for name, before in graph().items()}
    assert sorted(calls(quick)) == sorted(graph())

    assert {o.status for o in pipeline("smoke")} == {"unchanged"}
    assert len(calls(quick)) == len(graph())


def test_overrides_reach_the_stages_and_only_what_they_concern_runs_again(quick: Path) -> None:
    from flows.pipeline import pipeline

    pipeline("smoke")
    outcomes = pipeline("smoke", ["rl.*.learning_rate=0.5"])
    assert {o.stage: o.status for o in outcomes} == {
        "curate@problems": "unchanged", "rl@short": "ran", "rl@long": "ran", "report": "unchanged",
    }  # fmt: skip
    assert "learning_rate: 0.5" in (quick / "params.yaml").read_text()
    assert {o.status for o in pipeline("smoke")} == {"unchanged", "cached"}


def test_targets_bring_what_they_need_and_force_runs_them_only(quick: Path) -> None:
    from flows.pipeline import pipeline

    assert [o.stage for o in pipeline("smoke", targets=["rl@short"])] == ["curate@problems", "rl@short"]
    (quick / ".scratch" / "rl@short-0123456789ab").mkdir(parents=True)
    outcomes = pipeline("smoke", targets=["rl@short"], force=True)
    assert [o.status for o in outcomes] == ["unchanged", "ran"]
    assert calls(quick) == ["curate@problems", "rl@short", "rl@short"]
    assert not list((quick / ".scratch").iterdir()), "a forced stage must not resume"


def test_a_failure_is_told_in_the_stages_words_and_nothing_hangs_on_it(quick: Path) -> None:
    from flows.pipeline import pipeline

    (quick / "moods" / "curate@problems").write_text("fail")
    with pytest.raises(UserError, match=r"^Stage curate@problems failed: a planted failure\.$"):
        pipeline("smoke")
    assert calls(quick) == ["curate@problems"], "a failure of its own is not retried"
    assert {task.name: task.state_name for task in last_tasks()}["report"] == "NotReady"


def test_a_killed_stage_is_tried_again(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import pipeline as module

    monkeypatch.setattr(module, "run_stage", module.run_stage.with_options(retry_delay_seconds=0))
    (quick / "moods" / "curate@problems").write_text("killed")
    module.pipeline("smoke", targets=["curate"])
    assert calls(quick) == ["curate@problems", "curate@problems"]


def test_a_list_of_locks_that_a_killed_dvc_left_half_written_stops_nothing(quick: Path) -> None:
    """DVC alone refuses it for ever."""
    from flows.pipeline import pipeline

    (quick / ".dvc" / "tmp").mkdir(exist_ok=True)
    (quick / ".dvc" / "tmp" / "rwlock").write_text('{"write": {"')
    alone = run(["dvc", "repro", "curate"], quick, check=False)
    assert alone.returncode != 0
    assert "Unable to read RWLock-file" in alone.stdout
    assert {o.stage: o.status for o in pipeline("smoke", targets=["curate"])} == {"curate@problems": "ran"}
    assert calls(quick) == ["curate@problems"]


def test_an_unknown_stage_is_named(quick: Path) -> None:
    from flows.pipeline import pipeline

    with pytest.raises(UserError, match=r"no stage r1; dvc\.yaml has curate@problems"):
        pipeline("smoke", targets=["r1"])


def test_the_gpu_limit_must_exist_where_there_is_a_gpu(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect would run without a limit that it does not know, unless told to be strict."""
    from flows import pipeline as module

    monkeypatch.setattr(module, "has_gpu", lambda: True)
    module.pipeline("smoke", targets=["curate"])
    with pytest.raises(Exception, match="gpu"):
        module.pipeline("smoke", targets=["rl@short"])
    assert calls(quick) == ["curate@problems"]


def parents() -> set[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{os.getcwd()}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.status for run in client.search_runs(ids, "tags.`reforge.stage` = 'pipeline'")}


def test_a_run_whose_values_change_stops_before_its_next_stage_and_ends_its_parent(quick: Path) -> None:
    from flows.pipeline import pipeline

    (quick / "moods" / "curate@problems").write_text("compose")
    with pytest.raises(UserError, match=r"params\.yaml has changed since .*: stage 'rl@short' was not started"):
        pipeline("smoke")
    assert calls(quick) == ["curate@problems"]
    assert parents() == {"FAILED"}


def test_a_flow_waits_for_nobody_and_changes_no_values_under_a_run(quick: Path) -> None:
    """Another one, or a stage by hand, is in its way."""
    from flows.pipeline import pipeline

    before = Path("params.yaml").read_bytes()
    hold = (
        "import time; from reforge.machine.workspace import occupied\n"
        "with occupied(): print(flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UserError, match=f"params.yaml stays as it is: .*process {holder.pid}"):
            pipeline("smoke", ["seed=9"])
    finally:
        holder.kill()
        holder.wait()
    assert Path("params.yaml").read_bytes() == before
    assert calls(quick) == []


def test_the_parent_run_is_closed_as_it_ended(quick: Path) -> None:
    from flows.pipeline import pipeline

    (quick / "moods" / "report").write_text("fail")
    with pytest.raises(UserError):
        pipeline("smoke")
    assert parents() == {"FAILED"}
    (quick / "moods" / "report").unlink()
    pipeline("smoke")
    assert parents() == {"FINISHED"}
