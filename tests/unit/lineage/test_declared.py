"""Masking by hand-made declarations, in the corners that the stage tests do not reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reforge.config import Config, Sandbox
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.config.training import Rl
from reforge.errors import UserError
from reforge.lineage.declared import Audit, audited, mask, slice_of


@pytest.fixture
def config(repository: Path) -> Config:
    return build_config(compose(["rl.short.steps=7"]), "test")


def test_a_declared_section_is_handed_out_itself(config: Config) -> None:
    reads: set[str] = set()
    masked = mask(config, ["sandbox", "rl", "seed"], "x", reads)
    assert isinstance(masked.sandbox, Sandbox)
    assert masked.rl == config.rl
    assert reads == {"sandbox", "rl"}


def test_one_entry_of_a_table(config: Config) -> None:
    masked = mask(config, ["rl.short", "rl.long.batch"], "rl@short", set())
    assert isinstance(masked.rl["short"], Rl)
    assert masked.rl["short"].steps == 7
    assert masked.rl["long"].batch == config.rl["long"].batch
    with pytest.raises(UserError, match=r"reads the parameter 'rl\.long\.group_size' without declaring it"):
        _ = masked.rl["long"].group_size
    with pytest.raises(UserError, match=r"reads the parameter 'rl\.values'"):
        masked.rl.values()
    alone = mask(config, ["rl.short"], "rl@short", set())
    with pytest.raises(UserError, match=r"reads the parameter 'rl\.long' without declaring it"):
        alone.rl["long"]


def test_the_slice_holds_the_declared_keys_and_no_other(config: Config) -> None:
    assert slice_of(config, ["seed", "rl.short.steps"]) == {"seed": 0, "rl.short.steps": 7}


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("in/a", "inner", "other"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_declared_folders_and_files_may_be_opened(inside: Path) -> None:
    with audited(Audit(inside, ["in"], "x")):
        assert Path("in/a").read_text() == "in/a"
        assert (inside / "in" / ".." / "in" / "a").read_text() == "in/a"
        assert Path(os.devnull).read_text() == ""
        assert not os.path.exists("nothing")
        with pytest.raises(FileNotFoundError):
            Path("nothing").read_text()


@pytest.mark.parametrize("path", ["inner", "other", "in/../other"])
def test_others_may_not_even_with_a_similar_name(inside: Path, path: str) -> None:
    with pytest.raises(UserError, match=r"opened (inner|other), which"), audited(Audit(inside, ["in"], "x")):
        os.close(os.open(path, os.O_RDONLY))


def test_after_the_stage_everything_may_be_opened(inside: Path) -> None:
    with audited(Audit(inside, ["in"], "x")):
        pass
    assert Path("other").read_text() == "other"
