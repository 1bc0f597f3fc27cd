"""conf/ + overrides → params.yaml, and what a wrong override is told."""

from __future__ import annotations

import hashlib
import math
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from reforge.config.compose import compose, experiments
from reforge.config.load import build_config
from reforge.config.params import write_params
from reforge.errors import UserError
from reforge.frame.judge import limits_of
from reforge.problems.adapters import UnusableRow, adapt
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("repository")


def test_the_default_is_tiny() -> None:
    assert compose([])["experiment"] == "tiny"


def test_overrides_reach_their_key_in_its_type() -> None:
    values = compose(
        ["experiment=smoke", "rl.*.learning_rate=1e-4", "rl.*.loss.clip_low=0.25", "seed=7", "learner=gpu"]
    )
    for rung in values["rl"].values():
        assert (rung["learning_rate"], rung["loss"]["clip_low"]) == (1e-4, 0.25)
    assert (values["seed"], values["learner"]["zero_stage"]) == (7, 3)
    assert isinstance(compose(["rl.short.learning_rate=1"])["rl"]["short"]["learning_rate"], float)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("rl.short.lerning_rate=1", "unknown key 'rl.short.lerning_rate', did you mean 'rl.short.learning_rate'?"),
        ("+rl.*.lerning_rate=1", "unknown key 'rl.*.lerning_rate', did you mean 'rl.*.learning_rate'?"),
        ("++rl.short.lerning_rate=1", "unknown key 'rl.short.lerning_rate', did you mean 'rl.short.learning_rate'?"),
        ("rl.lerning_rate=1", "rl is a table of stages, did you mean 'rl.*.learning_rate'?"),
        ("+rl.learning_rate=1", "rl is a table of stages, did you mean 'rl.*.learning_rate'?"),
        ("rl.loss.clip_low=0.1", "unknown key 'rl.loss.clip_low', did you mean 'rl.*.loss.clip_low'?"),
        ("clip_low=0.1", "unknown key 'clip_low', did you mean 'rl.*.loss.clip_low'?"),
        ("smapler.threads=1", "unknown key 'smapler.threads', did you mean 'sampler'?"),
        ("+new.key=1", "unknown key 'new.key'; there are: experiment, seed, "),
        ("foo=1", "unknown key 'foo'; there are: experiment, seed, "),
        ("rl.short.xyz=1", "unknown key 'rl.short.xyz'; there are: environment, own, init, problems, steps, "),
        ("rl.xyz=1", "there is no 'xyz', only short, long. To add it, write + in front"),
        ("seed=1,2", "gives several values, and a run has one. Start a run for each"),
        ("experiment=tiny,smoke", "gives several values, and a run has one. Start a run for each"),
        ("seed=range(1,5)", "gives several values, and a run has one. Start a run for each"),
        ("learner.lora=3", "learner.lora: a section is needed here, with rank, alpha, targets, not 3"),
        ("evaluate.*.limits=3", "evaluate.base.limits: a table of names and values is needed here, not 3"),
        ("rl.short=3", "rl.short: a section is needed here, with environment, own, init, problems, steps, "),
        ("rl.short.stesp=1", "unknown key 'rl.short.stesp', did you mean 'rl.short.steps'?"),
        ("rl.8k.steps=1", "rl has no '8k'; there are: short, long. To add one, give it whole: +rl.8k={…}"),
        ("evaluate.*.limits.new=3", "there is no 'new', only short, long, longest. To add it, write + in front"),
        ("experiment=tinny", "conf/experiment has no 'tinny'; there are: "),
        ("rl.short=nothing", "conf/rl has no 'nothing'; there are: deepcoder, grpo_plus"),
        ("rl.*=nothing", "conf/rl has no 'nothing'; there are: deepcoder, grpo_plus"),
        ("learner=5", "conf/learner has no '5'; there are: cpu, gpu"),
        (
            "rl=deepcoder",
            "rl is a table of stages. Choose a file of conf/rl (deepcoder, grpo_plus) for one, as in rl.NAME",
        ),
        ("~rl", "rl is a table of stages. Choose a file of conf/rl (deepcoder, grpo_plus) for one, as in rl.NAME=FILE"),
        ("rl.short.batch=many", "rl.short.batch: must be a whole number (got 'many')"),
        ("rl.*.batch=1.5", "rl.short.batch: must be a whole number (got 1.5); rl.long.batch: must be "),
        ("sampler.enforce_eager=1", "sampler.enforce_eager: must be true or false"),
        ("rl.*.overlong.rule=punish", "rl.short.overlong: buffer: is given with rule: punish, and only then"),
        ("rl.*.loss.mean=constant", "rl.short.loss: constant_length: is given with mean: constant, and only then"),
        ("learner.dtype=bfloat16", "learner: dtype: bfloat16 needs zero_stage 1, 2 or 3"),
        ("learner.sequence_parallel=2", "learner: sequence_parallel (2) must divide the number of ranks"),
        ("learner.nodes=2", "learner: rendezvous: several nodes need a host:port to meet at"),
        ("learner.lora={rank: 2, alpha: 4, targets: [q_proj]}", "learner.lora: adds to a trained model, and sft/cold"),
        ("rl.short.max_tokens=4096", "rl.short.max_tokens is 4096 but base.policy.architecture.context is 512"),
        ("rl.*.loss.entropy=.inf", "rl.short.loss.entropy: must be a number (got '.inf')"),
        ("seed=-1", "seed: must be at least 0 (got -1)"),
        ("rl.*.updates=3", "rl.short: updates (3) must divide batch"),
        ("~rl.*.batch", "missing key 'rl.short.batch'; missing key 'rl.long.batch'"),
        ("seed", "Cannot read the override 'seed': there is no = in it. Write key=value"),
        ("", "Cannot read the override '': there is no = in it. Write key=value"),
        ("=3", "names no key. Write key=value"),
        ("ключ=1", "'ключ' is no name of a key. Write key=value"),
        ("--seed=3", "'--seed' is no name of a key. Write key=value"),
        ("seed={", "'{' is no value: brackets, braces and quotes must be closed"),
        ("seed='x", "is no value: brackets, braces and quotes must be closed"),
        (
            "rl={batch: 1}",
            "rl is a table of stages. Choose a file of conf/rl (deepcoder, grpo_plus) for one, as in rl.NA",
        ),
        ("learner={ranks: 1}", "gives a whole section, where a file of conf/learner is chosen (cpu, gpu). Give its"),
        ("experiment=", "conf/experiment has no ''; there are: "),
        ("sampler.urls=http://x", "sampler.urls: must be a list (got 'http://x')"),
        ("rl.short.steps=-1", "rl.short.steps: must be at least 1 (got -1)"),
        ("determinism=maybe", "determinism: must be "),
        ("seed=null", "seed: must be a whole number (got None)"),
        ("base.policy.path=3", "base.policy.path: must be text (got 3)"),
        ("hydra.run.dir=x", "unknown key 'hydra.run.dir'"),
        ("seed=${nokey}", "Interpolation key 'nokey' not found"),
        ("curate.problems=mbpp", "No value for curate.problems.sources.mbpp.path"),
    ],
)
def test_a_wrong_override_is_named_with_what_would_be_right(override: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        compose([override])
    assert says in str(caught.value)
    for words in ("\n", "Input should", "EOF", "viable", "instance of", "append to your config", "full_key"):
        assert words not in str(caught.value)


def test_the_command_that_gives_what_is_missing_has_all_that_was_given() -> None:
    with pytest.raises(UserError) as caught:
        compose(["experiment=real", "curate.problems=mbpp", "seed=3"])
    wanted = "experiment=real curate.problems=mbpp seed=3 curate.problems.sources.mbpp.path=…"
    assert f"reforge compose {wanted}" in str(caught.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"\tx: 1"])
def test_a_broken_file_of_conf_is_named(project: Path, content: bytes) -> None:
    Path("conf/experiment/own.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"A file of conf/ is not YAML: conf/experiment/own.yaml \(") as caught:
        compose(["experiment=own"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf" / "curate").glob("[!_]*.yaml")))
def test_every_problem_set_composes_and_has_its_adapters(name: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("{}\n")
    named = {"generated": [], "deepcoder": ["taco", "synthetic1", "livecodebench"]}.get(name, [name])
    paths = [f"curate.problems.sources.{source}.path={tmp_path / 'p.jsonl'}" for source in named]
    config = build_config(compose([f"curate.problems={name}", *paths]), "test")
    assert [source.adapter for source in config.curate["problems"].sources.values()] == (named or ["generated"])
    for adapter in named:
        with pytest.raises(UnusableRow, match=r"^(missing field|incomplete tests|no tests|no reference)"):
            adapt(adapter, {})


@pytest.mark.parametrize("experiment", ["deepcoder_1p5b", "deepcoder_14b"])
def test_no_sum_over_the_tests_bounds_a_program_that_is_in_time_on_each(experiment: str, tmp_path: Path) -> None:
    """15 tests of 12 s each took 180 s, and the default of 60 s for all of them was in force."""
    (tmp_path / "p.jsonl").write_text("{}\n")
    sources = ("taco", "synthetic1", "livecodebench")
    paths = [f"curate.problems.sources.{source}.path={tmp_path / 'p.jsonl'}" for source in sources]
    sandbox = build_config(compose([f"experiment={experiment}", *paths]), "test").sandbox
    assert (sandbox.cpu_seconds, sandbox.memory_mb, sandbox.budget_seconds) == (12.0, 4096, None)
    assert limits_of(sandbox).budget_seconds == math.inf


def test_what_sets_begin_with_is_no_set() -> None:
    with pytest.raises(UserError, match=r"conf/curate has no '_published'; there are: aime, apps, "):
        compose(["curate.problems=_published"])


def test_a_problem_file_is_pinned_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("{}\n")
    digest = hashlib.sha256(b"{}\n").hexdigest()
    key = "curate.problems.sources.mbpp"
    chosen = [
        "curate.problems=mbpp",
        f"{key}.path={file}",
        f"+curate.problems.against.other={{adapter: mbpp, path: {file}}}",
    ]
    chosen += [f"curate.problems.pass_rates={{path: {file}, limit: a, above: 0.0, below: 1.0}}"]
    problems = compose(chosen)["curate"]["problems"]
    pinned = (problems["sources"]["mbpp"], problems["against"]["other"], problems["pass_rates"])
    assert [item["sha256"] for item in pinned] == [digest] * 3
    assert compose([*chosen, f"+{key}.sha256={digest}"])["curate"]["problems"] == problems
    with pytest.raises(UserError, match=f"has sha256 {digest}, but {key}.sha256 demands {'0' * 64}"):
        compose([*chosen, f"+{key}.sha256={'0' * 64}"])


def test_a_problem_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file .*p\.jsonl"):
        compose(["curate.problems=mbpp", f"curate.problems.sources.mbpp.path={tmp_path / 'p.jsonl'}"])
    with pytest.raises(UserError, match="is a folder"):
        compose(["curate.problems=mbpp", f"curate.problems.sources.mbpp.path={tmp_path}"])


def test_a_data_set_name_is_no_file() -> None:
    values = compose(["curate.problems=mbpp", "curate.problems.sources.mbpp.path=google-research-datasets/mbpp"])
    assert values["curate"]["problems"]["sources"]["mbpp"]["sha256"] == ""


def test_params_are_equal_bytes_for_equal_values_and_read_back_equal(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    write_params(compose(["rl.*.learning_rate=1", "seed=3"]), first)
    write_params(compose(["seed=3", "rl.*.learning_rate=1.0"]), second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_text().startswith("# Generated by `reforge compose`, do not edit")
    assert yaml.safe_load(first.read_text()) == compose(["rl.*.learning_rate=1", "seed=3"])
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.yaml", "b.yaml"]


def test_params_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot write .*params\.yaml"):
        write_params({}, tmp_path / "nowhere" / "params.yaml")


def test_threads_may_compose_at_once() -> None:
    """Hydra's state is global: without the lock most of these raise."""
    found: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: found.append(compose([f"seed={n}"])["seed"])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))


def test_experiments_are_the_files_of_their_folder() -> None:
    assert {"tiny", "smoke", "deepcoder_1p5b", "deepcoder_14b", "livecodebench"} <= set(experiments())
    assert not [name for name in experiments() if name.startswith("_")]  # those are what others begin with


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["+curate.problems.against.a={adapter: mbpp, path: some/set}"], "with near null nothing is compared"),
        (["curate.problems.statement_characters=[10,5]"], "is not [least, most]"),
        (["+curate.problems.sources.a={adapter: mbpp, path: some/set, after: '2024-02-30'}"], "day is out of range"),
        (
            ["+curate.problems.sources.a={adapter: mbpp, path: x/y, after: '2025-01-01', before: '2024-01-01'}"],
            "no day is from",
        ),
        (
            ["curate.problems.pass_rates={path: x, limit: a, above: 0.9, below: 0.1}"],
            "no rate is above 0.9 and below 0.1",
        ),
        (["curate.problems.train=null"], "how many problems to generate must be a number"),
    ],
)
def test_settings_that_nothing_could_satisfy_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        compose(overrides)
