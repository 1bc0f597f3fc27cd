"""Everything that is asked of one finished run of `smoke`.

Its three doors (`dvc repro`, `prefect deployment run`, `reforge stage`) must give the same dvc.lock. After it, DVC has
nothing to do; a change makes stale what hangs on it, no more; a remote brings all of it back. A stage killed outright
and started again ends as if nothing had happened. In one file, so that test processes side by side share that run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient

from reforge.rollouts.store import write_rows
from tests.pipeline.doors import (
    artifacts,
    differences,
    edited,
    prefect_server,
    read_metrics,
    reward_changed,
    same,
    stale,
    started,
    wait_for_step,
    worker,
)
from tests.pipeline.projects import BIN, lock, run, second_clone, server_of


def test_one_flipped_byte_of_an_output_would_be_seen() -> None:
    one = yaml.safe_load("stages: {sft: {outs: [{path: outputs/sft, md5: aa}]}}")
    other = yaml.safe_load("stages: {sft: {outs: [{path: outputs/sft, md5: ab}]}}")
    assert differences(one, other) == ["/stages/sft/outs/0/md5: 'aa' != 'ab'"]
    assert differences(one, {"stages": {}}) != []


def test_stages_run_by_hand_equal_dvc_repro(smoke: Path, tmp_path: Path) -> None:
    """One of each kind; that of RL is below, where it is killed and goes on."""
    project = tmp_path / "project"
    shutil.copytree(smoke, project, ignore=shutil.ignore_patterns(".runs"), symlinks=True)
    by_hand = ["curate@problems", "base@policy", "sft@cold", "sample@teacher", "evaluate@sft", "report"]
    for name in by_hand:
        for out in lock(smoke)["stages"][name]["outs"]:
            path = project / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in by_hand:
        run(["reforge", "stage", name], project)
    (project / "dvc.lock").unlink()
    run(["dvc", "commit", "--force"], project)
    assert differences(lock(smoke), lock(project)) == []


def test_prefect_deployment_equals_dvc_repro(smoke: Path, tmp_path: Path) -> None:
    project = second_clone(smoke, tmp_path / "project")
    with prefect_server(tmp_path / "home") as environment:
        prefect = [str(BIN / "prefect"), "--no-prompt"]
        run([*prefect, "work-pool", "create", "cpu", "--type", "process"], project, **environment)
        run([*prefect, "deploy", "--name", "cpu"], project, **environment)
        with worker(project, tmp_path / "worker.log", environment):
            command = [*prefect, "deployment", "run", "pipeline/cpu", "-p", "experiment=smoke"]
            command += ["-p", f"overrides={json.dumps([server_of(smoke)])}", "--watch"]
            done = run(command, project, check=False, **environment)
    assert done.returncode == 0, f"{done.stdout}\n{(tmp_path / 'worker.log').read_text()[-5000:]}"
    assert differences(lock(smoke), lock(project)) == []


def test_a_second_repro_runs_nothing(smoke: Path) -> None:
    said = run(["dvc", "repro"], smoke).stdout
    assert "Running stage" not in said
    assert "is cached" not in said
    assert stale(smoke) == set()


def test_editing_the_readme_makes_nothing_stale(smoke: Path) -> None:
    with edited(smoke / "README.md", "another text"):
        assert stale(smoke) == set()


def test_editing_code_makes_its_stages_stale(smoke: Path) -> None:
    """So the two tests above do not pass by being blind."""
    credit = smoke / "src/reforge/objective/credit.py"
    with edited(credit, credit.read_text() + "\n# changed\n"):
        assert stale(smoke) == after_rl_short()


def test_changing_one_value_of_a_rung_makes_it_stale_and_what_hangs_on_it(smoke: Path) -> None:
    values = yaml.safe_load((smoke / "params.yaml").read_text())
    values["rl"]["short"]["learning_rate"] *= 2
    with edited(smoke / "params.yaml", yaml.safe_dump(values)):
        assert stale(smoke) == after_rl_short()


def after_rl_short() -> set[str]:
    return {"rl@short", "rl@long", "sample@teacher", "sft@student", "evaluate@rl-long", "report"}


def test_push_and_pull_bring_every_output_to_another_clone(smoke: Path, tmp_path: Path) -> None:
    run(["dvc", "remote", "add", "--local", "--default", "--force", "store", str(tmp_path / "store")], smoke)
    run(["dvc", "push"], smoke)
    other = second_clone(smoke, tmp_path / "other")
    for name in ("dvc.lock", "params.yaml"):  # what the owner would have committed
        shutil.copy(smoke / name, other / name)
    run(["dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store")], other)
    run(["dvc", "pull"], other)
    for stage in yaml.safe_load((smoke / "dvc.lock").read_text())["stages"].values():
        for out in stage["outs"]:
            assert same(smoke / out["path"], other / out["path"]), out["path"]
    assert stale(other) == set()
    assert "Running stage" not in run(["dvc", "repro"], other).stdout


def test_rl_killed_after_a_step_resumes_to_the_same_bytes(smoke: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(smoke, project, ignore=shutil.ignore_patterns("cache", ".runs"), symlinks=True)
    shutil.rmtree(project / "outputs/rl")
    with (tmp_path / "killed.log").open("wb") as log:
        killed = started(project, log)
        try:
            states = wait_for_step(project, 1, killed)
        finally:
            os.killpg(killed.pid, signal.SIGKILL)
            killed.wait()
    assert not (project / "outputs/rl/short").exists(), "half an output was put in place"

    run(["reforge", "stage", "rl@short"], project)
    assert not states.exists(), "the scratch folder is left behind"
    assert same(smoke / "outputs/rl/short", project / "outputs/rl/short")
    timings = [json.loads(line) for line in (project / ".runs/rl@short/timings.jsonl").read_text().splitlines()]
    assert [line["step"] for line in timings] == [1, 2, 3], "a finished step was repeated"


def test_rl_on_two_ranks_loses_one_and_goes_on_alone(smoke: Path, tmp_path: Path) -> None:
    """The same command launches the ranks. Rank 1 is killed after the first step: the stage ends within seconds and
    says why, and started again with one rank it goes on from what two have written."""
    project = tmp_path / "project"
    shutil.copytree(smoke, project, ignore=shutil.ignore_patterns("cache", ".runs"), symlinks=True)
    shutil.rmtree(project / "outputs/rl")
    two = ["reforge", "compose", "experiment=smoke", server_of(smoke), "learner.ranks=2", "learner.zero_stage=3"]
    run(two, project)
    with (tmp_path / "killed.log").open("wb") as log:
        launcher = started(project, log)
        try:
            wait_for_step(project, 1, launcher)
            ranks = [child for child in psutil.Process(launcher.pid).children() if "stage" in child.cmdline()]
            (follower,) = [rank for rank in ranks if rank.environ()["RANK"] == "1"]
            follower.kill()
            launcher.wait(60)
        finally:
            launcher.kill()
    said = (tmp_path / "killed.log").read_text()
    assert launcher.returncode == 75, said
    assert "Rank 1 of stage 'rl@short'" in said
    assert "was ended by SIGKILL, and the other ranks were stopped" in said
    assert not any(rank.is_running() for rank in ranks)

    resumed = tmp_path / "resumed"
    shutil.copytree(project, resumed, symlinks=True)
    run(two[:-2], resumed)
    run(["reforge", "stage", "rl@short"], resumed)
    steps = [json.loads(line)["step"] for line in (resumed / ".runs/rl@short/timings.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3], "a finished step was repeated"
    assert (resumed / "outputs/rl/short/model/model.safetensors").is_file()
    ours, theirs = (read_metrics(folder / "outputs/rl/short/metrics.jsonl") for folder in (resumed, smoke))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def test_a_rung_is_trained_again_from_its_record_to_the_same_weights(smoke: Path) -> None:
    done = run(["reforge", "replay", "rl@long"], smoke)
    assert done.stdout.splitlines()[-3:] == [f"step {step}: as recorded" for step in (1, 2, 3)]


@pytest.mark.parametrize(("also", "said"), [
    ("", "reward of {} is not what was recorded"), ("digests", "the advantage of {} was"),
    ("advantages", "tensors are not what the step left"),
])  # fmt: skip
def test_a_changed_reward_is_named_however_well_it_is_covered_up(smoke: Path, also: str, said: str) -> None:
    with reward_changed(smoke / "outputs/rl/short/rollouts/step-00002.parquet", also) as rollout:
        done = run(["reforge", "replay", "rl@short"], smoke, check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[lines.index("step 2: differs") - 1] == "step 1: as recorded"
    assert said.format(rollout) in done.stdout


def test_its_rollouts_are_drawn_again_to_the_same_tokens_and_another_one_is_named(smoke: Path) -> None:
    done = run(["reforge", "replay", "rl@short", "--resample"], smoke)
    assert done.stdout.splitlines()[-3:] == [f"step {step}: as recorded" for step in (1, 2, 3)]
    path = smoke / "outputs/rl/short/rollouts/step-00003.parquet"
    before = path.read_bytes()
    rows = pq.read_table(path).to_pylist()
    was = rows[5]["token_ids"][2]
    rows[5]["token_ids"][2] = was + 1
    path.unlink()
    write_rows(path, rows)
    done = run(["reforge", "replay", "rl@short", "--resample", "--steps", "3"], smoke, check=False)
    path.unlink()
    path.write_bytes(before)
    assert done.returncode == 1
    named = f"rollout {rows[5]['problem_id']}/{rows[5]['index']}"
    assert done.stdout.splitlines()[-2:] == ["step 3: differs", f"    {named}: token 2 was {was + 1} and is {was}"]


def test_two_ranks_train_again_to_the_same_weights(smoke: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(smoke, project, ignore=shutil.ignore_patterns(".runs"), symlinks=True)
    run(
        ["reforge", "compose", "experiment=smoke", server_of(smoke), "learner.ranks=2", "learner.zero_stage=2"], project
    )
    run(["reforge", "stage", "rl@short"], project)
    run(["dvc", "commit", "-q", "-f", "rl@short"], project)
    done = run(["reforge", "replay", "rl@short", "--steps", "2:3"], project)
    assert [line for line in done.stdout.splitlines() if "as recorded" in line] == [
        "step 2: as recorded", "step 3: as recorded"
    ]  # fmt: skip


def test_a_rollout_and_a_number_lead_back_to_the_rows_of_the_source(smoke: Path) -> None:
    rows = pq.read_table(smoke / "outputs/rl/short/rollouts/step-00002.parquet").to_pylist()
    said = run(["reforge", "why", f"rl@short/2/{rows[0]['problem_id']}/{rows[0]['index']}"], smoke).stdout
    assert f"drawn with seed {rows[0]['seed']} from policy version 0" in said
    assert re.search(rf"problem {re.escape(rows[0]['problem_id'])} \(generated, line \d+\): kept for training", said)
    assert said.splitlines()[-1].strip().startswith("R") or "curate@problems: outputs/curate/problems" in said
    said = run(["reforge", "why", "pass@1/rl-long/long"], smoke).stdout.splitlines()
    assert said[0].startswith("pass@1/rl-long/long = ")
    assert said[0].endswith("in metrics/report.json")


def test_judging_again_changes_no_verdict_and_names_one_that_was_changed(smoke: Path) -> None:
    for stage in ("rl@short", "sample@teacher", "evaluate@rl-long"):
        lines = run(["reforge", "replay", stage, "--regrade"], smoke).stdout.splitlines()
        assert lines, stage
        assert all(line.endswith("verdicts: as recorded") for line in lines), lines
    path = smoke / "outputs/rl/short/rollouts/step-00002.parquet"
    before = path.read_bytes()
    rows = pq.read_table(path).to_pylist()
    rows[3] |= {"status": "MLE", "reason": "as planned"}
    path.unlink()
    write_rows(path, rows)
    done = run(["reforge", "replay", "rl@short", "--regrade"], smoke, check=False)
    path.unlink()
    gone = run(["reforge", "replay", "rl@short", "--regrade"], smoke, check=False)
    path.write_bytes(before)
    assert done.returncode == 1
    assert f"rollout {rows[3]['problem_id']}/3 was MLE (as planned) and is " in done.stdout.splitlines()[-2]
    assert done.stdout.endswith("as recorded\n")  # the steps after it are judged, too
    assert gone.returncode != 0
    assert "step-00002.parquet is missing" in gone.stdout


def test_a_rung_in_a_clean_copy_gives_the_digest_of_the_lock(smoke: Path) -> None:
    assert run(["reforge", "verify", "rl@short"], smoke).stdout.splitlines()[-1] == "rl@short: as recorded"


def test_mlflow_holds_the_report_the_data_card_and_what_became_of_the_rows(smoke: Path) -> None:
    client = MlflowClient(f"sqlite:///{smoke / 'mlflow.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "reforge"]
    newest = {run.info.run_name: run for run in reversed(client.search_runs([experiment.experiment_id]))}
    assert {"report.html", "table.md"} <= artifacts(smoke, newest["report"])
    curate = newest["curate@problems"]
    assert {"README.md", "funnel.json", "plots"} <= artifacts(smoke, curate)
    counted = {step: curate.data.metrics[f"final/{step}/kept"] for step in ("read", "tests", "verify")}
    assert counted == dict.fromkeys(counted, 176.0)
    assert curate.data.metrics["final/split/train"] == 160.0
