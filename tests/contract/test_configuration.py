"""What is committed under conf/ and as params.yaml: everything composes, and params.yaml is a product of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reforge.config import KINDS, Config, dotted, instances
from reforge.config.compose import compose
from reforge.config.load import build_config, load_config, unknown_key
from reforge.config.params import HEADER, write_params
from reforge.lineage import graph

EXPERIMENTS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "experiment").glob("[!_]*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_says_its_name(repository: Path, experiment: str) -> None:
    assert composed(experiment).experiment == experiment


def composed(experiment: str) -> Config:
    """The published ones do not say where their problems and their model lie."""
    deepcoder = [f"curate.problems.sources.{name}.path=some/{name}" for name in ("taco", "synthetic1", "livecodebench")]
    given = {
        "deepcoder_1p5b": deepcoder,
        "deepcoder_14b": deepcoder,
        "livecodebench": ["base.policy.path=some/model", "curate.problems.sources.livecodebench.path=some/set"],
    }
    return build_config(compose([f"experiment={experiment}", *given.get(experiment, [])]), experiment)


def test_the_published_experiments_are_there() -> None:
    assert {"tiny", "smoke", "deepcoder_1p5b", "deepcoder_14b", "livecodebench"} <= set(EXPERIMENTS)


def test_deepcoder_14b_holds_the_published_values(repository: Path) -> None:
    config = composed("deepcoder_14b")
    for rl in config.rl.values():
        assert (rl.learning_rate, rl.batch, rl.group_size, rl.updates, rl.temperature) == (1e-6, 128, 8, 2, 0.6)
        assert (rl.loss.clip_low, rl.loss.clip_high, rl.overlong.rule) == (0.2, 0.28, "filter")
        assert (rl.loss.mean, rl.loss.kl, rl.loss.entropy, rl.advantage) == ("token", None, 0.0, "normalised")
        assert rl.max_prompt_tokens == 2048
    assert [(rung.init, rung.steps, rung.max_tokens) for rung in config.rl.values()] == [
        ("base/policy", 180, 16384), ("rl/16k", 470, 32768),
    ]  # fmt: skip
    assert sum(rung.steps for rung in config.rl.values()) == 650
    assert [one.model for one in config.evaluate.values()] == ["base/policy", "rl/16k", "rl/32k"]
    for one in config.evaluate.values():
        assert list(one.limits.values()) == [16384, 32768, 65536]
        assert (one.temperature, one.top_p) == (0.6, 0.95)
    assert (config.learner.gradient_clip, config.sampler.tensor_parallel) == (1.0, 2)
    problems = config.curate["problems"]
    trained_on, held_back = problems.sources["livecodebench"], problems.against["livecodebench"]
    assert (problems.train, problems.tests_per_problem) == (None, 5)
    assert (trained_on.after, trained_on.before) == ("2023-05-01", "2024-08-01")
    assert (held_back.path, held_back.after, held_back.before) == (trained_on.path, "2024-08-01", "2025-02-01")


def test_livecodebench_evaluates_on_the_window_that_deepcoder_keeps_apart(repository: Path) -> None:
    config, trained = composed("livecodebench"), composed("deepcoder_14b")
    window, apart = (
        config.curate["problems"].sources["livecodebench"], trained.curate["problems"].against["livecodebench"]
    )  # fmt: skip
    assert (window.after, window.before) == (apart.after, apart.before)
    (mine,) = config.evaluate.values()
    assert (mine.model, mine.limits) == ("base/policy", trained.evaluate["base"].limits)


def test_params_yaml_is_what_conf_composes_to(repository: Path, tmp_path: Path) -> None:
    """Edited by hand, or forgotten after a change of conf/: `reforge compose experiment=…` mends both."""
    committed = Path("params.yaml")
    experiment = yaml.safe_load(committed.read_text())["experiment"]
    write_params(compose([f"experiment={experiment}"]), tmp_path / "params.yaml")
    assert committed.read_text() == (tmp_path / "params.yaml").read_text()
    assert committed.read_text().startswith(HEADER)


def test_every_key_of_the_config_is_declared_by_a_stage_or_is_about_tracking(repository: Path) -> None:
    """A key that no stage declares cannot be read by one: it would be an option that does nothing."""
    config, specs = load_config(Path("params.yaml")), graph.stages()
    assert all(unknown_key(key) == "" for spec in specs.values() for key in spec.params)
    declared = {key for name, spec in specs.items() if name != "report" for key in spec.params}
    sections = {key.partition(".")[0] for key in (*declared, *specs["report"].params)}
    assert set(Config.model_fields) - sections == {"tracking"}
    assert {key for key in declared if key.partition(".")[0] in KINDS} == {dotted(name) for name in instances(config)}
