"""The real graph over tables of stages, with real DVC and quick stages: what a change of the tables makes run, and what
it does not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reforge.cli import main
from reforge.config import instances
from reforge.config.load import load_config
from tests.pipeline.projects import ROOT, calls, run, tables_project

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("[!_]*.yaml"))
GIVEN = {  # what the published ones leave open
    "deepcoder_1p5b": [
        f"curate.problems.sources.{name}.path=a/{name}" for name in ("taco", "synthetic1", "livecodebench")
    ],
    "livecodebench": ["base.policy.path=a/model", "curate.problems.sources.livecodebench.path=a/set"],
}
GIVEN["deepcoder_14b"] = GIVEN["deepcoder_1p5b"]
SMOKE = {
    "curate@problems", "base@policy", "base@student", "sft@cold", "sft@student", "rl@short", "rl@long",
    "sample@teacher", "evaluate@sft", "evaluate@rl-long", "report",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`smoke`, brought up to date. Shared: a test composes what it needs."""
    return tables_project(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def tables(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`smoke`, up to date; and we are in it."""
    monkeypatch.chdir(made)
    assert ran("smoke") == []  # whatever was composed in between
    return made


def ran(experiment: str, *overrides: str) -> list[str]:
    """Compose and bring all up to date; the stages that really ran, in their order."""
    main.compose([f"experiment={experiment}", *overrides])
    before = len(calls(Path.cwd()))
    run(["dvc", "repro"], Path.cwd())
    return calls(Path.cwd())[before:]


def entries() -> set[str]:
    return {name.replace("/", "@") for name in instances(load_config(Path("params.yaml")))}


def files(*folders: str) -> dict[str, str]:
    """Digests of all that lies there."""
    found = [path for folder in folders for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_every_entry_runs_once_after_what_it_is_made_from_and_the_report_last(made: Path) -> None:
    order = calls(made)[: len(SMOKE)]
    assert set(order) == SMOKE
    after = {
        "base@policy": "curate@problems", "sft@cold": "base@policy", "rl@short": "sft@cold", "rl@long": "rl@short",
        "sample@teacher": "rl@long", "sft@student": "sample@teacher", "evaluate@rl-long": "rl@long",
    }  # fmt: skip
    assert all(order.index(name) > order.index(before) for name, before in after.items())
    assert order[-1] == "report"


@pytest.mark.parametrize(("key", "stages"), [
    ("rl.long.guards.truncated=0.75", {"rl@long", "sample@teacher", "sft@student", "evaluate@rl-long"}),
    ("rl.short.learning_rate=3e-4", {"rl@short", "rl@long", "sample@teacher", "sft@student", "evaluate@rl-long"}),
    ("sample.teacher.count=32", {"sample@teacher", "sft@student"}),
    ("evaluate.*.rollouts=3", {"evaluate@sft", "evaluate@rl-long"}),
])  # fmt: skip
def test_a_key_of_an_entry_concerns_it_and_what_hangs_on_it_and_nothing_else(
    tables: Path, key: str, stages: set[str]
) -> None:
    again = ran("smoke", key)
    assert len(again) == len(set(again))
    assert set(again) == stages | {"report"}


@pytest.mark.parametrize(("more", "stage"), [
    (["+evaluate.mine=smoke", "evaluate.mine.model=rl/short"], "evaluate@mine"),
    (["+rl.third=grpo_plus", "rl.third.init=rl/long"], "rl@third"),
    (["+sft.more=cold_start", "sft.more.init=sft/cold"], "sft@more"),
])  # fmt: skip
def test_one_more_entry_runs_itself_and_the_report_only(tables: Path, more: list[str], stage: str) -> None:
    assert ran("smoke", *more) == [stage, "report"]
    assert Path("outputs", *stage.split("@")).is_dir()


def test_one_evaluation_less_runs_the_report_only(tables: Path) -> None:
    assert ran("smoke", "~evaluate.sft") == ["report"]
    assert sorted(path.name for path in Path("outputs/evaluate").iterdir()) == ["rl-long"]
    assert sorted(path.name for path in Path("metrics/evaluate").iterdir()) == ["rl-long.json"]


def test_back_at_an_experiment_nothing_runs_again_and_nothing_of_the_other_is_left(tables: Path) -> None:
    before = files("outputs", "metrics", "report")
    other = ran("livecodebench", *GIVEN["livecodebench"])
    assert set(other) == {"curate@problems", "base@policy", "evaluate@model", "report"}
    kinds = {path.name: sorted(made.name for made in path.iterdir()) for path in Path("outputs").iterdir()}
    kept = {"curate": ["problems"], "base": ["policy"], "evaluate": ["model"], "none": ["data", "model"]}
    assert {kind: names for kind, names in kinds.items() if names} == kept
    assert ran("smoke") == []
    assert files("outputs", "metrics", "report") == before


def test_an_output_of_no_stage_that_the_cache_does_not_have_is_kept_aside(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = Path("outputs/rl/by-hand")
    ours.mkdir()
    (ours / "notes.txt").write_text("mine")
    assert ran("smoke", "~evaluate.rl-long") == ["report"]
    assert not ours.exists()
    assert Path(".runs/aside", ours, "notes.txt").read_text() == "mine"
    said = capsys.readouterr().out
    assert "outputs/rl/by-hand belongs to no stage now and is not in DVC's cache: moved to .runs/aside/" in said
    assert "outputs/evaluate/rl-long belongs to no stage now and was removed; DVC's cache keeps it." in said


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_dvc_lists_every_entry_of_every_experiment(
    made: Path, monkeypatch: pytest.MonkeyPatch, experiment: str
) -> None:
    monkeypatch.chdir(made)
    main.compose([f"experiment={experiment}", *GIVEN.get(experiment, [])])
    listed = run(["dvc", "stage", "list", "--name-only"], made).stdout.split()
    assert set(listed) == entries() | {"report"}
    assert len(listed) > 3
