"""Disks that are really full or read-only, in a mount namespace of their own: what a stage says, and how it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

FULL = """
mount -t tmpfs -o size=32m none room
cp -a "$PROJECT/." room && cd room
"$PYTHON" fake.py sft@cold 2> "$KEPT/said" &
until [ "$(cat .scratch/sft@cold-*/step 2>/dev/null)" = 3 ] || ! kill -0 $!; do sleep 0.1; done
cat /dev/zero > filler 2>/dev/null || true
touch "$GO"
if wait $!; then exit 9; fi
rm filler
"$PYTHON" fake.py sft@cold
cp -a outputs mlflow.db "$KEPT"
"""
READ_ONLY = """
cd "$PROJECT"
mount --bind "$PLACE" "$PLACE"
mount -o remount,ro,bind "$PLACE"
cd "$PROJECT"
if "$PYTHON" fake.py sft@cold 2> "$KEPT/said"; then exit 9; fi
umount -l "$PLACE"
cd "$PROJECT"
"$PYTHON" fake.py sft@cold
"""
SPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def in_a_space(script: str, folder: Path, **named: str) -> str:
    """Run it where mounts are its own; what the stage that failed said."""
    if subprocess.run([*SPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount in a namespace of his own")
    (folder / "kept").mkdir()
    named |= {"PYTHON": sys.executable, "KEPT": str(folder / "kept"), "GO": str(folder / "go")}
    subprocess.run([*SPACE, "sh", "-euc", script], cwd=folder, env={**os.environ, **named}, check=True)
    return (folder / "kept/said").read_text()


def ready_for_sft(project: Path) -> None:
    for folder in ("outputs/base/policy/model", "outputs/curate/problems/data"):
        (project / folder).mkdir(parents=True)


def test_a_full_disk_loses_no_step(project: Path, tmp_path: Path) -> None:
    ready_for_sft(project)
    (tmp_path / "room").mkdir()
    said = in_a_space(FULL, tmp_path, PROJECT=str(project))
    assert "no space left on the disk" in said
    assert "Traceback" not in said
    steps = (tmp_path / "kept/outputs/sft/cold/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in steps] == [{"step": step, "loss": 1 / step} for step in range(1, 6)]
    client = MlflowClient(f"sqlite:///{tmp_path}/kept/mlflow.db")
    experiment = client.get_experiment_by_name("reforge").experiment_id  # type: ignore[union-attr]
    (run,) = client.search_runs([experiment], "attributes.status = 'FINISHED' AND tags.`reforge.stage` = 'sft@cold'")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / step) for step in range(1, 6)]


@pytest.mark.parametrize(
    ("place", "told"), [("outputs", "could not put outputs/sft/cold in its place: "), (".", "Read-only file system")]
)
def test_a_read_only_folder_is_said_before_anything_runs(project: Path, tmp_path: Path, place: str, told: str) -> None:
    ready_for_sft(project)
    (tmp_path / "go").touch()
    said = in_a_space(READ_ONLY, tmp_path, PROJECT=str(project), PLACE=str(project / place))
    assert told in said
    assert "Traceback" not in said
    assert (project / "outputs/sft/cold/model/weights").read_text() == "done"
