"""Outputs that no stage makes any more: what DVC keeps is removed and comes back, anything else is moved aside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reforge.config import Config
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.config.params import write_params
from reforge.frame.gone import ASIDE, remove_gone
from reforge.lineage import graph
from tests.conftest import PINNED

SMOKE = ["experiment=smoke", *PINNED]
WITHOUT = [*SMOKE, "~rl.long", "~evaluate.rl-long"]
GONE = ["outputs/rl/long", "metrics/rl/long.json"]


def composed(overrides: list[str]) -> Config:
    values = compose(overrides)
    write_params(values, Path("params.yaml"))
    return build_config(values, "params.yaml")


def everything() -> set[str]:
    return {path.as_posix() for folder in ("outputs", "metrics") for path in Path(folder).glob("*/*")}


@pytest.fixture
def made(run_stages: Callable[..., None]) -> set[str]:
    """All stages of the small graph have run, and DVC's cache has what they left."""
    run_stages("curate@problems", "base@policy", "sft@cold", "rl@short", "rl@long")
    return everything()


def test_nothing_is_gone_while_the_graph_has_it_all(made: set[str]) -> None:
    assert remove_gone(composed(SMOKE)) == []
    assert everything() == made
    assert {*GONE, "outputs/none/model", "outputs/none/data"} <= made


def test_what_the_cache_keeps_is_removed_and_comes_back(made: set[str]) -> None:
    before = graph.digests(GONE)
    assert remove_gone(composed(WITHOUT)) == [
        f"{path} belongs to no stage now and was removed; DVC's cache keeps it." for path in GONE
    ]
    assert everything() == made - set(GONE)
    assert not ASIDE.exists()
    assert remove_gone(composed(SMOKE)) == []
    subprocess.run(["dvc", "checkout", "-q", "rl@long"], check=True)
    assert graph.digests(GONE) == before


def test_dvc_repro_brings_it_back_without_running_the_stage(made: set[str]) -> None:
    """Also where dvc.lock tells of it no longer: DVC's run-cache does."""
    before = graph.digests(GONE)
    remove_gone(composed(WITHOUT))
    Path("dvc.lock").unlink()
    composed(SMOKE)
    fake = Path("fake.py")
    fake.write_text(fake.read_text().replace("def model(ctx):\n", "def model(ctx):\n    raise SystemExit('it ran')\n"))
    subprocess.run(["dvc", "repro", "-q", "rl@long"], check=True)
    assert graph.digests(GONE) == before


@pytest.mark.parametrize("uncached", ["changed", "never made by a stage"])
def test_what_the_cache_does_not_have_is_moved_aside(made: set[str], uncached: str) -> None:
    """The planted work is by hand: removed, it would be lost."""
    if uncached == "changed":
        path = Path("outputs/rl/long/model/weights")
        path.unlink()  # a link into the cache, which must stay as it is
    else:
        path = Path("outputs/rl/notes/mine")
        path.parent.mkdir()
    path.write_text("by hand")
    said = remove_gone(composed(WITHOUT))
    out = "/".join(path.parts[:3])
    assert f"{out} belongs to no stage now and is not in DVC's cache: moved to {ASIDE / out}." in said
    assert (ASIDE / path).read_text() == "by hand"
    assert everything() == made - set(GONE)
    assert f"{GONE[1]} belongs to no stage now and was removed; DVC's cache keeps it." in said


def test_what_was_moved_aside_before_stays(project: Path) -> None:
    for text, place in (("first", "old"), ("second", "old.1"), ("third", "old.2")):
        Path("outputs/rl/old").mkdir(parents=True)
        Path("outputs/rl/old/file").write_text(text)
        assert len(remove_gone(composed(SMOKE))) == 1
        assert (ASIDE / "outputs/rl" / place / "file").read_text() == text
    assert (ASIDE / "outputs/rl/old/file").read_text() == "first"


def test_what_is_of_no_kind_of_stage_is_left_alone(project: Path) -> None:
    mine = Path("outputs/mine/notes")
    mine.mkdir(parents=True)
    assert remove_gone(composed(SMOKE)) == []
    assert mine.is_dir()


def test_an_output_whose_files_the_cache_has_lost_is_moved_aside(made: set[str]) -> None:
    """The cache still lists the folder, and one of its files is not there any more."""
    weights = graph.contents(graph.digests(["outputs/rl/long"])["outputs/rl/long"])["model/weights"]
    (Path(".dvc/cache/files/md5") / weights[:2] / weights[2:]).unlink()
    assert f"outputs/rl/long belongs to no stage now and is not in DVC's cache: moved to {ASIDE}/outputs/rl/long." in (
        remove_gone(composed(WITHOUT))
    )
