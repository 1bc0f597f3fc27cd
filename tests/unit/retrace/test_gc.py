import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from reforge.errors import UserError
from reforge.retrace.gc import collect

REPORT = """\
  report:
    cmd: python fake.py report
    params: [experiment]
    deps: [outputs/sft]
    outs: [report]
    metrics: [metrics/report.json]
"""


@pytest.fixture
def seeded(project: Path, run_stages: Callable[..., None]) -> Callable[[int], None]:
    """Runs everything up to a report with a seed."""
    (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text() + REPORT)
    stages = project / "fake.py"
    stages.write_text(stages.read_text().replace('"rl": model}', '"rl": model, "report": model}'))

    def run(seed: int) -> None:
        params = project / "params.yaml"
        lines = [f"seed: {seed}" if line.startswith("seed: ") else line for line in params.read_text().splitlines()]
        params.write_text("\n".join(lines) + "\n")
        run_stages("curate@problems", "base@policy", "sft@cold")
        run_stages("report")

    return run


def test_what_a_kept_report_needs_stays_and_what_only_a_deleted_one_needs_goes(
    project: Path, seeded: Callable[[int], None]
) -> None:
    locks = {}
    for seed in (0, 1, 2):  # dvc.lock, which nobody commits, names the last only
        seeded(seed)
        locks[seed] = Path("dvc.lock").read_text()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("reforge").experiment_id
    made = client.search_runs([experiment], "tags.`reforge.stage` = 'report'", order_by=["attributes.start_time ASC"])
    assert len(made) == 3
    assert collect(remove=False).reports == 3
    before = sorted(Path(".dvc/cache/files").rglob("*"))
    assert collect(remove=True).files == [], "all three are kept"
    client.delete_run(made[1].info.run_id)
    would = collect(remove=False)
    assert (would.reports, sorted(Path(".dvc/cache/files").rglob("*"))) == (2, before)
    assert len(would.files) > 0
    assert collect(remove=True).files == would.files
    for seed, back in ((0, True), (1, False), (2, True)):
        Path("dvc.lock").write_text(locks[seed])
        for folder in ("outputs", "report"):
            shutil.rmtree(folder, ignore_errors=True)
        made = ["outputs/curate/problems", "outputs/base/policy", "outputs/sft/cold", "report", "metrics/report.json"]
        done = subprocess.run(["dvc", "checkout", "-q", *made], capture_output=True, text=True)
        assert (done.returncode == 0) == back, (seed, done.stderr)


def test_what_a_commit_names_stays_whatever_becomes_of_its_report(project: Path, seeded: Callable[[int], None]) -> None:
    seeded(0)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    branch = subprocess.run(
        [*git, "branch", "--show-current"], check=True, capture_output=True, text=True
    ).stdout.strip()
    for command in (
        ["checkout", "-qb", "side"],
        ["add", "dvc.lock"],
        ["commit", "-qm", "lock"],
        ["checkout", "-q", branch],
        ["commit", "-q", "--allow-empty", "-m", "else"],
        ["merge", "-q", "-s", "ours", "-m", "merged, and nothing of it taken", "side"],
        ["branch", "-qD", "side"],
    ):
        subprocess.run([*git, *command], check=True)
    assert not Path("dvc.lock").exists()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    for run in client.search_runs([client.get_experiment_by_name("reforge").experiment_id]):
        client.delete_run(run.info.run_id)
    assert collect(remove=False).files == []


def test_a_report_that_nobody_knows_the_inputs_of_stops_it(run_stages: Callable[..., None], project: Path) -> None:
    (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text() + REPORT.replace("[outputs/sft]", "[raw.txt]"))
    stages = project / "fake.py"
    stages.write_text(stages.read_text().replace('"rl": model}', '"rl": model, "report": model}'))
    run_stages("report")
    with pytest.raises(UserError, match="was made without DVC"):
        collect(remove=True)


def test_of_interrupted_stages_the_state_with_a_checkpoint_stays(project: Path) -> None:
    for number, name in enumerate(["sft@cold-0123456789ab", "rl@short-0123456789ab", "sft@cold-ba9876543210"]):
        Path(".scratch", name).mkdir(parents=True)
        os.utime(Path(".scratch", name), (number, number))
    Path(".scratch/sft@cold-0123456789ab/checkpoint/000003").mkdir(parents=True)
    Path(".scratch/sft@cold-0123456789ab/checkpoint/000003/step.json").touch()
    Path(".scratch/base@policy-0123456789ab.done").mkdir()
    lock = "open('.runs/sft@cold/lock', 'a')"
    holder = f"import fcntl, sys, time; f = {lock}; fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True)"
    Path(".runs/sft@cold").mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", f"{holder}; time.sleep(60)"], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        assert collect(remove=False).folders == [Path(".scratch/base@policy-0123456789ab.done")], "sft runs"
        running.kill()
    found = collect(remove=True)
    assert found.folders == [Path(".scratch/sft@cold-ba9876543210"), Path(".scratch/base@policy-0123456789ab.done")]
    assert sorted(path.name for path in Path(".scratch").iterdir()) == [
        "rl@short-0123456789ab",
        "sft@cold-0123456789ab",
    ]


def test_without_the_database_nothing_goes(project: Path) -> None:
    Path("mlflow.db").unlink()
    with pytest.raises(UserError, match="nobody knows which runs and reports there are"):
        collect(remove=True)
    assert not Path("mlflow.db").exists()


def test_another_database_is_no_reason_to_remove_what_the_lost_one_knew(
    project: Path, seeded: Callable[[int], None]
) -> None:
    database = project / "mlflow.db"
    fresh = database.read_bytes()
    seeded(0)
    collect(remove=False)
    for other, told in ((fresh, "does not know run .* a different database"), (b"nonsense", "cannot be asked")):
        database.write_bytes(other)
        with pytest.raises(UserError, match=told):
            collect(remove=True)


def test_while_mlflow_has_not_heard_of_every_run_nothing_goes(project: Path) -> None:
    Path(".runs/unsent/000001").mkdir(parents=True)
    with pytest.raises(UserError, match="First: reforge sync"):
        collect(remove=True)
