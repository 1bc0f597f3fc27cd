"""params.yaml → Config: whatever is wrong with the file is said with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reforge.config.compose import compose
from reforge.config.load import build_config, load_config, unknown_key
from reforge.errors import UserError


@pytest.fixture
def values(repository: Path) -> dict[str, Any]:
    return compose([])


def complaint(values: Any) -> str:
    with pytest.raises(UserError) as caught:
        build_config(values, "params.yaml")
    return str(caught.value)


def test_a_misspelt_key_names_the_nearest(values: dict[str, Any]) -> None:
    values["rl"]["short"]["lerning_rate"] = values["rl"]["short"].pop("learning_rate")
    text = complaint(values)
    assert "missing key 'rl.short.learning_rate'" in text
    assert "unknown key 'rl.short.lerning_rate', did you mean 'rl.short.learning_rate'?" in text


def test_an_unknown_top_level_key_fails(values: dict[str, Any]) -> None:
    values["optimizer"] = 1
    assert "unknown key 'optimizer'; there are: experiment, seed, " in complaint(values)
    values["optimizer"] = {}
    assert "optimizer: there is no kind of stage with this name; there are curate, base, sft, " in complaint(values)


def test_an_unknown_key_of_a_rung_fails(values: dict[str, Any]) -> None:
    values["rl"]["short"]["max_token"] = 3
    assert "unknown key 'rl.short.max_token', did you mean 'rl.short.max_tokens'?" in complaint(values)


@pytest.mark.parametrize("wrong", ["32", 1.5, None, True, [1]])
def test_a_wrong_type_fails(values: dict[str, Any], wrong: Any) -> None:
    values["rl"]["short"]["batch"] = wrong
    assert f"rl.short.batch: must be a whole number (got {wrong!r})" in complaint(values)


def test_not_even_a_mapping() -> None:
    assert complaint(None).startswith("params.yaml: a section is needed here, with experiment, seed, ")


def test_lengths_that_do_not_fit_the_model(values: dict[str, Any]) -> None:
    for one in values["evaluate"].values():
        one["limits"]["longest"] = 100_000
    assert "evaluate.base.limits.longest is 100000 but base.policy.architecture.context is 512" in complaint(values)
    values["base"]["policy"]["path"] = "a checkpoint, which says itself what it holds"
    assert "evaluate.student.limits.longest is 100000 but base.student.architecture.context is 512" in complaint(values)


def test_pass_at_k_needs_k_rollouts(values: dict[str, Any]) -> None:
    values["evaluate"]["sft"]["ks"] = [1, 99]
    assert "evaluate.sft: pass@99 needs at least 99 rollouts" in complaint(values)


def test_files_that_are_missing_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml not found\. Write it with: reforge compose"):
        load_config(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(UserError, match=r"params\.yaml is not the YAML that was written"):
        load_config(tmp_path / "params.yaml")


def test_a_good_file(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    assert load_config(tmp_path / "params.yaml").model_dump() == values


@pytest.mark.parametrize(
    "key", ["seed", "rl", "rl.any.steps", "rl.*.loss.kl.estimator", "evaluate.x.limits.any", "base.x"]
)
def test_known_keys(key: str) -> None:
    assert unknown_key(key) == ""


@pytest.mark.parametrize("key", ["sed", "rl.any.step", "seed.x", "evaluate.x.limits.any.y", "distill.sft", ""])
def test_unknown_keys(key: str) -> None:
    assert "unknown key" in unknown_key(key)
