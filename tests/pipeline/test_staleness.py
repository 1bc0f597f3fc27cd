"""After a run DVC has nothing to do; a change makes stale what hangs on it, no more; a remote brings all of it back."""

from __future__ import annotations

import filecmp
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.pipeline.projects import run, second_clone

pytestmark = pytest.mark.timeout(900)


def stale(project: Path) -> set[str]:
    """The stages that `dvc repro` would run now: those with a change, and what hangs on them."""
    changed = set(json.loads(run(["dvc", "status", "--json"], project).stdout))
    program = "import json; from reforge.lineage.graph import graph; print(json.dumps(graph()))"
    for name, upstream in json.loads(run([sys.executable, "-c", program], project).stdout).items():
        if changed & set(upstream):
            changed.add(name)
    return changed


@contextmanager
def edited(path: Path, text: str) -> Iterator[None]:
    before = path.read_text() if path.exists() else None
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_text(before)


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
    advantages = smoke / "src/reforge/advantages.py"
    with edited(advantages, advantages.read_text() + "\n# changed\n"):
        assert stale(smoke) == after_rl_16k()


def test_changing_one_value_of_rl_makes_rl_16k_stale_and_what_hangs_on_it(smoke: Path) -> None:
    values = yaml.safe_load((smoke / "params.yaml").read_text())
    values["rl"]["learning_rate"] *= 2
    with edited(smoke / "params.yaml", yaml.safe_dump(values)):
        assert stale(smoke) == after_rl_16k()


def after_rl_16k() -> set[str]:
    return {
        "rl@16k", "rl@32k", "distill", "evaluate@rl-32k", "report",
    }  # fmt: skip


def test_push_and_pull_bring_every_output_to_another_clone(smoke: Path, tmp_path: Path) -> None:
    run(["dvc", "remote", "add", "--local", "--default", "--force", "store", str(tmp_path / "store")], smoke)
    run(["dvc", "push"], smoke)
    other = second_clone(smoke, tmp_path / "other")
    for name in ("dvc.lock", "params.yaml"):  # what the owner would have committed
        shutil.copy(smoke / name, other / name)
    shutil.copytree(smoke / "metrics", other / "metrics")
    run(["dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store")], other)
    run(["dvc", "pull"], other)
    for stage in yaml.safe_load((smoke / "dvc.lock").read_text())["stages"].values():
        for out in stage["outs"]:
            assert same(smoke / out["path"], other / out["path"]), out["path"]
    assert stale(other) == set()


def same(one: Path, other: Path) -> bool:
    if one.is_file():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(path.relative_to(one) for path in one.rglob("*"))
    return names == sorted(path.relative_to(other) for path in other.rglob("*")) and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names if (one / name).is_file()
    )
