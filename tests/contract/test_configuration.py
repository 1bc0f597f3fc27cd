"""What is committed under conf/ and as params.yaml: everything composes, and params.yaml is a product of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reforge.config import Config
from reforge.config.compose import HEADER, compose, write_params
from reforge.config.load import build_config, load_config, unknown_key
from reforge.lineage import graph

EXPERIMENTS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_says_its_name(repository: Path, experiment: str) -> None:
    assert composed(experiment).experiment == experiment


def composed(experiment: str) -> Config:
    """The published ones do not say where their problems lie."""
    named = [f"problems.sources.{name}.path=some/{name}" for name in ("taco", "synthetic1", "livecodebench")]
    return build_config(
        compose([f"experiment={experiment}", *(named if "deepcoder" in experiment else [])]), experiment
    )


def test_the_published_experiments_are_there() -> None:
    assert {"tiny", "smoke", "deepcoder_1p5b", "deepcoder_14b"} <= set(EXPERIMENTS)


def test_deepcoder_14b_holds_the_published_values(repository: Path) -> None:
    config = composed("deepcoder_14b")
    rl, rungs = config.rl, config.rl.rungs
    assert (rl.learning_rate, rl.batch, rl.group_size, rl.updates, rl.temperature) == (1e-6, 128, 8, 2, 0.6)
    assert (rl.loss.clip_low, rl.loss.clip_high, rl.overlong.rule, rl.max_prompt_tokens) == (0.2, 0.28, "filter", 2048)
    assert (rl.loss.mean, rl.loss.kl, rl.loss.entropy, rl.advantage) == ("token", None, 0.0, "normalised")
    assert [(rung.steps, rung.max_tokens) for rung in rungs.values()] == [(180, 16384), (470, 32768)]
    assert sum(rung.steps for rung in rungs.values()) == 650
    assert list(config.evaluate.lengths.values()) == [16384, 32768, 65536]
    assert (config.evaluate.temperature, config.evaluate.top_p) == (0.6, 0.95)
    assert (config.learner.gradient_clip, config.sampler.tensor_parallel) == (1.0, 2)
    problems = config.problems
    trained_on, held_back = problems.sources["livecodebench"], problems.against["livecodebench"]
    assert (problems.train, problems.tests_per_problem) == (None, 5)
    assert (trained_on.after, trained_on.before) == ("2023-05-01", "2024-08-01")
    assert (held_back.path, held_back.after, held_back.before) == (trained_on.path, "2024-08-01", "2025-02-01")


def test_params_yaml_is_what_conf_composes_to(repository: Path, tmp_path: Path) -> None:
    """Edited by hand, or forgotten after a change of conf/: `reforge compose experiment=…` mends both."""
    committed = Path("params.yaml")
    experiment = yaml.safe_load(committed.read_text())["experiment"]
    write_params(compose([f"experiment={experiment}"]), tmp_path / "params.yaml")
    assert committed.read_text() == (tmp_path / "params.yaml").read_text()
    assert committed.read_text().startswith(HEADER)


def test_every_key_of_the_config_is_declared_by_a_stage_or_is_about_tracking(repository: Path) -> None:
    """A key that no stage declares cannot be read by one: it would be an option that does nothing."""
    declared = {key for spec in graph.stages().values() for key in spec.params}
    assert all(unknown_key(key) == "" for key in declared)
    sections = {key.partition(".")[0] for key in declared}
    assert set(type(load_config(Path("params.yaml"))).model_fields) - sections == {"tracking"}
