"""MLflow on SQLite and W&B offline, for real."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from reforge.tracking.mlflow_mirror import MlflowMirror, add_cached, finish_pipeline
from reforge.tracking.tracker import RunInfo, Tracker
from tests.unit.tracking.runs import LEARNING, children, children_at, files_of, history, info, tracked


def test_a_child_under_one_parent_with_all_that_leads_back(client: MlflowClient, tmp_path: Path) -> None:
    for stage in ("sft@cold", "rl@short"):
        mirror = MlflowMirror("sqlite:///mlflow.db", info(stage), tmp_path / f"{stage}.json")
        mirror.log(1, {"loss": 0.5})
        mirror.close("FINISHED", {"pass@1": 0.25}, {"reforge.out": "m1.dir"})
    finish_pipeline("sqlite:///mlflow.db", info("pipeline", reforge_dvc_lock="l2"), "FINISHED")
    runs = children(client)
    assert set(runs) == {"pipeline", "sft@cold", "rl@short"}
    parent, child = runs["pipeline"], runs["rl@short"]
    assert (
        child.data.tags["mlflow.parentRunId"] == parent.info.run_id == runs["sft@cold"].data.tags["mlflow.parentRunId"]
    )
    assert parent.data.tags["reforge.dvc_lock"] == "l2"
    assert child.data.params == LEARNING
    assert child.data.metrics == {"loss": 0.5, "final/pass_at_1": 0.25}
    assert [(entry.dataset.name, entry.dataset.digest) for entry in child.inputs.dataset_inputs] == [
        ("outputs/base/policy/model", "d1.dir")
    ]
    assert child.data.tags["reforge.out"] == "m1.dir"
    assert [path.name for path in files_of(child).iterdir()] == ["params.yaml"]
    assert child.info.status == parent.info.status == "FINISHED"


def test_a_resumed_stage_goes_on_in_its_run_without_doubled_steps(client: MlflowClient, tmp_path: Path) -> None:
    def tracker() -> Tracker:
        opener = lambda: MlflowMirror("sqlite:///mlflow.db", info(), tmp_path / "mlflow.json")  # noqa: E731
        return Tracker(tmp_path / "s", tmp_path / "r", [opener])

    first = tracker()
    for step in (1, 2, 3):
        first.log(step, {"loss": float(step)})
    resumed = tracker()  # the first was killed
    resumed.rewind(1)
    for step in (2, 3, 4):
        resumed.log(step, {"loss": float(step)})
    resumed.close("FINISHED")
    run = children(client)["sft@cold"]
    assert history(client, run.info.run_id, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_a_skipped_stage_points_at_the_run_that_made_its_output(client: MlflowClient, tmp_path: Path) -> None:
    mirror = MlflowMirror("sqlite:///mlflow.db", info("sft@cold"), tmp_path / "sft.json")
    mirror.close("FINISHED", {}, {"reforge.out": "m1.dir"})
    other = RunInfo("reforge", "p2", "sft@cold", {}, {"reforge.out": "m1.dir"})
    unknown = RunInfo("reforge", "p2", "base@policy", {}, {"reforge.out": "m9.dir"})
    for _ in range(2):  # the second time there is nothing to add
        add_cached("sqlite:///mlflow.db", [(other, {"pass@1": 0.5}), (unknown, {})])
    experiment = client.get_experiment_by_name("reforge").experiment_id
    cached = client.search_runs([experiment], "tags.`reforge.status` = 'cached'")
    assert {run.data.tags["reforge.stage"]: run.data.tags["reforge.produced_by"] for run in cached} == {
        "sft@cold": mirror.run_id,
        "base@policy": "unknown",
    }
    assert len(cached) == 2


def test_two_processes_may_open_a_fresh_database_at_once(tmp_path: Path) -> None:
    """Without the lock one of them fails with `table ... already exists`."""
    program = (
        "import sys; from pathlib import Path; from reforge.tracking.mlflow_mirror import MlflowMirror;"
        "from reforge.tracking.tracker import RunInfo;"
        "MlflowMirror('sqlite:///mlflow.db', RunInfo('reforge', 'p', sys.argv[1], {}, {}), Path(sys.argv[1]))"
    )
    both = [subprocess.Popen([sys.executable, "-c", program, name], cwd=tmp_path) for name in ("a", "b")]
    assert [process.wait() for process in both] == [0, 0]
    parents = {run.data.tags.get("mlflow.parentRunId") for run in children_at(tmp_path)}
    assert len(parents - {None}) == 1


def test_an_unwritable_database_does_not_stop_the_tracker(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opener = lambda: MlflowMirror("sqlite:////proc/no/mlflow.db", info(), tmp_path / "mlflow.json")  # noqa: E731
    kept = Tracker(tmp_path / "s", tmp_path / "r", [opener])
    kept.log(1, {"loss": 1.0})
    kept.close("FINISHED")
    assert json.loads(kept.path.read_text()) == {"step": 1, "loss": 1.0}
    assert caplog.text.count("A mirror of the metrics failed") == 1


def test_what_mlflow_missed_while_its_database_was_locked_is_filled_in(
    client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Tracker(
        tmp_path / "s", tmp_path / "r", [lambda: MlflowMirror("sqlite:///mlflow.db", info(), tmp_path / "mlflow.json")]
    )
    kept.log(1, {"loss": 1.0})
    other = sqlite3.connect("mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    kept.log(2, {"loss": 2.0})
    other.execute("ROLLBACK")
    other.close()
    assert caplog.text.count("A mirror of the metrics failed") == 1
    kept.log(3, {"loss": 3.0})
    kept.close("FINISHED", {"pass@1": 0.5})
    run = children(client)["sft@cold"]
    assert run.info.status == "FINISHED"
    assert history(client, run.info.run_id, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_of_a_database_that_was_replaced_a_resumed_stage_makes_a_run_with_every_step(
    client: MlflowClient, tmp_path: Path
) -> None:
    first = tracked(tmp_path, "sqlite:///old.db")
    first.log(1, {"loss": 1.0})
    again = tracked(tmp_path)
    again.log(2, {"loss": 2.0})
    again.close("FINISHED")
    assert history(client, children(client)["sft@cold"].info.run_id, "loss") == [(1, 1.0), (2, 2.0)]


def test_wandb_offline_holds_every_step_also_after_a_resume(project: Path, tmp_path: Path) -> None:
    """Each in a process of its own, as stages are: only when it ends has W&B written all that it was told."""
    program = (
        "import sys; from pathlib import Path; from reforge.tracking.tracker import RunInfo, Tracker;"
        "from reforge.tracking.wandb_mirror import WandbMirror;"
        "info = RunInfo('reforge', 'p1', 'sft@cold', {}, {}, {}, (Path('params.yaml'),));"
        "tracker = Tracker(Path('s'), Path('r'), [lambda: WandbMirror(Path('w').resolve(), info)]);"
        "tracker.log(int(sys.argv[1]), {'loss': float(sys.argv[1])}); tracker.artifact(Path('note.txt'));"
        "tracker.close(sys.argv[2], {'pass@1': 0.5})"
    )
    (tmp_path / "note.txt").write_text("of this run")
    (tmp_path / "home").write_text("no folder, so nothing can be written there")
    for step, status in (("1", "FAILED"), ("2", "FINISHED")):
        said = subprocess.run(
            [sys.executable, "-c", program, step, status],
            cwd=tmp_path,
            check=True,
            env={**os.environ, "HOME": str(tmp_path / "home")},
            capture_output=True,
        )
        assert (said.stdout, said.stderr) == (b"", b"")
    (tmp_path / "note.txt").write_text("of a later run")
    kept = [path.read_text() for path in (tmp_path / "w" / "wandb").glob("offline-run-*/files/note.txt")]
    assert kept == ["of this run"] * 2
    histories = sorted(map(wandb_history, (tmp_path / "w" / "wandb").glob("offline-run-*/*.wandb")), key=len)
    assert histories == [[(1, 1.0)], [(1, 1.0), (2, 2.0)]]


def wandb_history(file: Path) -> list[tuple[int, float]]:
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in wandb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            values = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            found.append((int(values["_step"]), float(values["loss"])))
    return found


def wandb_records(data: bytes) -> list[bytes]:
    """A LevelDB log after 7 bytes of W&B's own: blocks of 32 KiB; crc, length, type (1 whole, 2 first … 4 last)."""
    at, found, part = 7, [], b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no header fits: padding
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(part)
            part = b""
    return found


def test_what_does_not_change_is_one_point_and_no_chart_and_a_resume_knows_that(
    client: MlflowClient, tmp_path: Path
) -> None:
    """`rate` never changes; `infra` does at step 4, after an interruption; `loss` changes always."""
    first = tracked(tmp_path)
    for step in (1, 2):
        first.log(step, {"loss": 1.0 / step, "rate": 0.5, "infra": 0.0})
    again = tracked(tmp_path)
    for step, infra in ((3, 0.0), (4, 1.0), (5, 1.0)):
        again.log(step, {"loss": 1.0 / step, "rate": 0.5, "infra": infra})
    again.close("FINISHED", {"loss": 0.2, "rows": 7.0})
    run = children(client)["sft@cold"]
    assert history(client, run.info.run_id, "rate") == [(1, 0.5)]
    assert history(client, run.info.run_id, "infra") == [(1, 0.0), (3, 0.0), (4, 1.0), (5, 1.0)]
    assert [step for step, _ in history(client, run.info.run_id, "loss")] == [1, 2, 3, 4, 5]
    assert set(run.data.metrics) == {"loss", "rate", "infra", "final/rows"}  # the loss has been told
