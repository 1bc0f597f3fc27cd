"""Nobody changes the values under a run, and a run that has died is in nobody's way."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reforge.errors import UserError
from reforge.frame import run
from reforge.machine import workspace
from tests.unit.cli.test_main import reforge

BY = r"(, started by `.*` \(process \d+\))?"  # make, where that runs the tests
HOLD = "import time\nfrom reforge.machine.workspace import occupied\nwith occupied():\n    print('held', flush=True)\n"


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Once it has said something."""
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        assert started.stdout.readline()
        yield started
    finally:
        started.kill()
        started.wait()


def test_compose_is_refused_while_something_runs_and_names_it(project: Path) -> None:
    (project / "hold.py").write_text(f"{HOLD}    time.sleep(600)\n")
    before = Path("params.yaml").read_bytes()
    with process(sys.executable, "hold.py") as holder:
        done = reforge("compose", "experiment=smoke", "seed=9")
        assert done.returncode == 2
        assert re.search(rf"`hold.py` \(process {holder.pid}{BY}\) has worked in this folder since ", done.stderr)
        assert re.search(r"Wait for it, or stop it with `kill \d+`", done.stderr)
        assert done.stderr.count("\n") == 1
        assert Path("params.yaml").read_bytes() == before
        holder.kill()
        holder.wait()
        assert workspace.LOCK.is_file(), "what a killed run leaves"
        assert reforge("compose", "experiment=smoke", "seed=9").returncode == 0
    assert Path("params.yaml").read_bytes() != before


def test_several_run_side_by_side(project: Path) -> None:
    (project / "hold.py").write_text(f"{HOLD}    time.sleep(600)\n")
    with process(sys.executable, "hold.py") as one, process(sys.executable, "hold.py") as two, workspace.occupied():
        assert (one.poll(), two.poll()) == (None, None)


def test_dvc_between_two_stages_is_something_that_runs(project: Path, tmp_path: Path) -> None:
    (tmp_path / "dvc").write_text("import time; print('up', flush=True); time.sleep(600)")
    with process(sys.executable, str(tmp_path / "dvc"), "repro") as dvc:
        with (
            pytest.raises(UserError, match=rf"`dvc repro` \(process {dvc.pid}{BY}\) has worked in this folder"),
            workspace.occupied(change=lambda: None, patience=0.0),
        ):
            pass
        with process(sys.executable, str(tmp_path / "dvc"), "status"):
            dvc.kill()
            dvc.wait()
            with workspace.occupied(change=lambda: None, patience=0.0):
                pass


def seed(number: int) -> None:
    path = Path("params.yaml")
    lines = [f"seed: {number}" if line.startswith("seed: ") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def test_what_was_made_while_the_values_changed_is_not_put_in_its_place(project: Path) -> None:
    fake = project / "fake.py"
    fake.write_text(fake.read_text().replace("def curate(ctx):\n", "def curate(ctx):\n    change()\n", 1))
    change = "def change():\n    path = Path('params.yaml'); path.write_text(path.read_text() + '# other')\n\n\n"
    fake.write_text(fake.read_text().replace("def curate", f"{change}def curate", 1))
    done = subprocess.run([sys.executable, "fake.py", "curate@problems"], capture_output=True, text=True)
    assert (
        "params.yaml has changed since this run began: what stage 'curate@problems' has made was not put" in done.stderr
    )
    assert not Path("outputs/curate/problems").exists()


def test_one_dvc_repro_runs_on_one_set_of_values(project: Path) -> None:
    graph = project / "dvc.yaml"
    change = "sed -i 's/^seed: .*/seed: 9/' params.yaml"
    command = f'cmd: "python fake.py curate@${{key}} && {change}"'
    graph.write_text(graph.read_text().replace("cmd: python fake.py curate@${key}", command))
    done = subprocess.run(["dvc", "repro", "base@policy"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "params.yaml has changed since this run began: stage 'base@policy' was not started" in done.stderr
    assert not Path("outputs/base/policy").exists()


REPORT = """\
  report:
    cmd: python fake.py report
    params: [experiment, seed]
    deps: [outputs/sft]
    outs: [report]
    metrics: [metrics/report.json]
"""


@pytest.fixture
def reported(project: Path) -> Path:
    (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text() + REPORT)
    fake = project / "fake.py"
    fake.write_text(fake.read_text().replace('"rl": model}', '"rl": model, "report": model}'))
    return project


@pytest.mark.parametrize("recorded", [True, False])
def test_a_report_is_of_one_seed(reported: Path, run_stages, recorded: bool) -> None:
    """Whether dvc.lock tells of what it reads, or the manifests of stages that nobody has committed."""
    run_stages("curate@problems", "base@policy", "sft@cold")
    seed(9)
    run_stages("sft@cold")
    if not recorded:
        Path("dvc.lock").unlink()
    with pytest.raises(
        UserError,
        match=r"mix two experiments: outputs/curate/problems was made by curate@problems, and seed was 0 then",
    ):
        run.run_stage("report")
    assert not Path("report").exists()
    seed(0)
    with pytest.raises(
        UserError, match=r"outputs/sft/cold was made by sft@cold, and seed was 9 then and is 0 in params\.yaml"
    ):
        run.run_stage("report")


def test_a_report_is_of_one_chain(reported: Path, run_stages) -> None:
    """The same values everywhere, but the model was trained on other problems than lie here now."""
    run_stages("curate@problems", "base@policy", "sft@cold")
    Path("raw.txt").write_text("other problems")
    run_stages("curate@problems")
    with pytest.raises(
        UserError, match=r"made by base@policy, and outputs/curate/problems/data is not what it ran with"
    ):
        run.run_stage("report")
    run_stages("base@policy", "sft@cold", "report")
