"""Two clones and a remote: what one has made and pushed, another pulls, and has nothing left to do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

from reforge.config.compose import compose
from reforge.config.params import write_params
from tests.conftest import PINNED
from tests.pipeline.projects import GIT, second_clone

STAGES = ("curate@problems", "base@policy", "sft@cold", "rl@short", "rl@long")


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_clone_that_pulls_has_every_file_and_nothing_to_run(
    project: Path, run_stages: Callable[..., None], tmp_path: Path
) -> None:
    said("dvc", "remote", "add", "-q", "--default", "store", str(tmp_path / "store"))
    run_stages(*STAGES)
    said("dvc", "push", "-q")
    said(*GIT, "add", ".")
    said(*GIT, "commit", "-qm", "made")
    with chdir(second_clone(project, tmp_path / "other")):
        said("dvc", "pull", "-q")
        assert json.loads(said("dvc", "status", "--json")) == {}
        assert "Running stage" not in said("dvc", "repro")
        assert not Path(".runs").exists(), "a stage ran"
        for name in (stage.replace("@", "/") for stage in STAGES):
            ours, theirs = (Path(root, "metrics", f"{name}.json").read_text() for root in (".", project))
            assert ours == theirs, name
        shown = json.loads(said("dvc", "metrics", "show", "--json"))[""]["data"]
        assert shown["metrics/curate/problems.json"]["data"] == {"problems": 64.0}


def test_metrics_of_two_commits_are_compared(project: Path, run_stages: Callable[..., None]) -> None:
    """Those of the first lie in DVC's cache only."""
    for train in (64, 48):
        write_params(compose(["experiment=smoke", *PINNED, f"curate.problems.train={train}"]), Path("params.yaml"))
        run_stages("curate@problems")
        said(*GIT, "add", ".")
        said(*GIT, "commit", "-qm", f"{train} problems")
    changed = json.loads(said("dvc", "metrics", "diff", "HEAD~1", "HEAD", "--json"))
    assert changed["metrics/curate/problems.json"]["problems"] == {"old": 64.0, "new": 48.0, "diff": -16.0}
