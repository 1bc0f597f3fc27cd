"""MLflow's account of a pipeline in which DVC skipped a stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from reforge.config.load import load_config
from reforge.files.jsonfile import write_json
from reforge.frame import runs
from reforge.lineage import graph, manifest
from reforge.tracking.mlflow_files import text_of

Runner = Callable[..., None]


def all_runs(project: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("reforge")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


def test_a_skipped_stage_has_a_child_too_that_names_the_run_it_came_from(project: Path, run_stages: Runner) -> None:
    run_stages("curate@problems", "base@policy")
    first = manifest.read("curate@problems", project).mlflow_run_id
    before = runs.pipeline_id()
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("vocab_size: ", "vocab_size: 1"))
    run_stages("base@policy")
    runs.mirror_cached()
    runs.close_pipeline("FINISHED")
    assert runs.pipeline_id() != before

    mine = {r.data.tags["reforge.stage"]: r for r in all_runs(project) if r.data.tags["reforge.pipeline"] != before}
    assert set(mine) == {"pipeline", "curate@problems", "base@policy"}  # what has never run has no child
    assert {name: run.data.tags.get("reforge.status") for name, run in mine.items()} == {
        "pipeline": None,
        "curate@problems": "cached",
        "base@policy": "ran",
    }
    assert mine["curate@problems"].data.tags["reforge.produced_by"] == first
    assert mine["curate@problems"].data.metrics == {"final/problems": 64.0}
    assert mine["pipeline"].data.tags["reforge.dvc_lock"] == graph.lock_hash()
    assert mine["pipeline"].info.status == "FINISHED"


def test_a_run_says_what_it_read_and_made_in_dvc_s_digests(project: Path, run_stages: Runner) -> None:
    run_stages("curate@problems", "base@policy")
    base = next(run for run in all_runs(project) if run.data.tags["reforge.stage"] == "base@policy")
    lock = graph.locked("base@policy")
    assert {d.dataset.name: d.dataset.digest for d in base.inputs.dataset_inputs} == {
        entry["path"]: entry["md5"] for entry in lock["deps"]
    }
    assert base.data.tags["reforge.out"] == next(e["md5"] for e in lock["outs"] if e["path"] == "outputs/base/policy")
    assert base.data.tags["reforge.fingerprint"] == manifest.read("base@policy", project).facts["fingerprint"]
    assert base.data.params["base.policy.vocab_size"].isdigit()
    assert len(base.data.tags["reforge.git_sha"]) == 40


def test_a_changed_file_under_version_control_is_said(project: Path) -> None:
    assert manifest.code_version()["dirty"] is False
    (project / "fake.py").write_text((project / "fake.py").read_text() + "\n")
    changed = manifest.code_version()
    assert changed["dirty"] is True
    (project / "fake.py").write_text((project / "fake.py").read_text() + "\n")
    assert manifest.code_version()["diff"] not in ("", changed["diff"])


def test_outside_of_git_the_code_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert manifest.code_version() == {"sha": "", "dirty": True, "diff": ""}


def test_what_mlflow_missed_of_a_whole_stage_is_made_up_for(
    project: Path, run_stages: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its database cannot be opened while `base` runs, from the first step to the last."""
    run_stages("curate@problems")
    Path("mlflow.db").rename("away.db")
    Path("mlflow.db").mkdir()
    run_stages("base@policy")
    assert "MLflow has not received all of base" in caplog.text
    assert not runs.send_unsent(load_config(runs.PARAMS))
    runs.close_pipeline("FINISHED")  # does not fail, either
    lock = Path("dvc.lock").read_text()
    Path("mlflow.db").rmdir()
    Path("away.db").rename("mlflow.db")
    assert {run.data.tags["reforge.stage"] for run in all_runs(project)} == {"pipeline", "curate@problems"}
    run_stages("sft@cold")  # whatever stage begins next
    found = {run.data.tags["reforge.stage"]: run for run in all_runs(project)}
    base, sft = (found[name] for name in ("base@policy", "sft@cold"))
    assert base.info.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    steps = {
        run.info.run_id: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
        for run in (base, sft)
    }
    assert steps[base.info.run_id] == steps[sft.info.run_id] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    kept = text_of(client, base.info.run_id, "dvc.lock")
    assert kept is not None
    assert kept != lock, "it is that of before the stage"
    assert base.data.tags["reforge.out"] == graph.digests(["outputs/base/policy"])["outputs/base/policy"]
    assert not list(Path(".runs/unsent").glob("[0-9]*"))
    assert runs.send_unsent(load_config(runs.PARAMS))


def test_headlines_that_are_not_finite_are_numbers_for_mlflow_again(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"gain": float("-inf"), "loss": 0.5, "pass@1": None})
    assert runs._headline(tmp_path / "m.json") == {"gain": float("-inf"), "loss": 0.5}
