"""Tables of stages: how an override names entries of them, what the graph that they make must hold, what follows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reforge.config import Config, base_of, begun_with, compared_limit, compared_models, dotted, instances
from reforge.config.compose import compose, origins
from reforge.config.load import build_config
from reforge.config.section import Slot
from reforge.errors import UserError

pytestmark = pytest.mark.usefixtures("repository")


def config(*overrides: str) -> Config:
    return build_config(compose(list(overrides)), "test")


def complaint(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        compose(list(overrides))
    return str(caught.value)


def written(value: Any) -> str:
    """A value as an override gives it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {written(inner)}' for key, inner in value.items())}}}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# --- overrides


def test_an_override_is_of_one_entry_or_with_a_star_of_all() -> None:
    usual = compose([])
    one = compose(["rl.short.steps=3"])
    assert (one["rl"]["short"]["steps"], one["rl"]["long"]) == (3, usual["rl"]["long"])
    every = compose(["rl.*.loss.clip_low=0.1", "evaluate.*.limits.longest=100"])
    assert [entry["loss"]["clip_low"] for entry in every["rl"].values()] == [0.1, 0.1]
    assert [entry["limits"]["longest"] for entry in every["evaluate"].values()] == [100] * 5
    assert {**every, "rl": usual["rl"], "evaluate": usual["evaluate"]} == usual


def test_of_overrides_of_one_key_the_last_holds_whether_or_not_with_a_star() -> None:
    assert [entry["steps"] for entry in compose(["rl.*.steps=3", "rl.long.steps=4"])["rl"].values()] == [3, 4]
    assert [entry["steps"] for entry in compose(["rl.long.steps=4", "rl.*.steps=3"])["rl"].values()] == [3, 3]


def test_entries_can_be_added_and_removed() -> None:
    usual = compose([])
    third = {**usual["rl"]["long"], "init": "rl/long", "steps": 5}
    added = compose([f"+rl.third={written(third)}", "sample.teacher.model=rl/third", "rl.third.steps=6"])
    assert added["rl"] == {**usual["rl"], "third": {**third, "steps": 6}}
    assert list(added["rl"]) == ["short", "long", "third"]
    one = compose(["~rl.long", "~evaluate.rl-long", "sample.teacher.model=rl/short"])
    assert (list(one["rl"]), "rl-long" in one["evaluate"]) == (["short"], False)
    assert compose(["~evaluate.*"])["evaluate"] == {}


def test_a_name_may_begin_with_a_digit() -> None:
    """Hydra's own grammar has no such key."""
    added = f"+rl.8k={written(compose([])['rl']['short'])}"
    rungs = compose([added, "rl.short.init=rl/8k", "rl.8k.loss.clip_low=0.1", "rl.*.steps=2"])["rl"]
    assert (rungs["8k"]["loss"]["clip_low"], rungs["short"]["init"]) == (0.1, "rl/8k")
    assert {name: rung["steps"] for name, rung in rungs.items()} == {"short": 2, "long": 2, "8k": 2}
    assert "8k" not in compose([added, "~rl.8k"])["rl"]
    said = "rl.8k: a file can be chosen only for an entry whose name begins with a letter. Give its values one by one."
    assert complaint("+rl.8k=grpo_plus") == said


def test_a_star_needs_entries_to_stand_for() -> None:
    said = "evaluate.*.count: the table evaluate has no entry that * could stand for."
    assert complaint("~evaluate.*", "evaluate.*.count=3") == said


# --- files for entries


FILE = ["rl.long=deepcoder", "rl.long.steps=4", "rl.long.max_tokens=64"]


def test_a_file_that_is_chosen_for_an_entry_gives_its_values_and_the_entry_keeps_its_inputs() -> None:
    more = ["+curate.more=generated", "rl.long.problems=curate/more"]
    usual, other = compose(more), compose([*more, *FILE])
    long = other["rl"]["long"]
    assert (long["init"], long["problems"]) == ("rl/short", "curate/more")
    assert (long["batch"], long["learning_rate"], long["steps"], long["max_tokens"]) == (128, 1e-6, 4, 64)
    assert other["rl"]["short"] == usual["rl"]["short"]
    assert {**other, "rl": usual["rl"]} == usual
    student = compose(["sft.student=cold_start"])["sft"]["student"]
    assert (student["init"], student["problems"], student["rollouts"]) == ("base/student", "none", "sample/teacher")
    assert (student["steps"], student["learning_rate"]) == (280, 2e-3)


def test_values_that_the_experiment_meant_for_its_own_file_do_not_go_with_another() -> None:
    """real's rungs have steps and a limit; deepcoder.yaml has none, so they are asked for."""
    assert "No value for rl.long.max_tokens, rl.long.steps. Give it" in complaint("experiment=real", FILE[0])
    assert compose(["experiment=real", "rl.long=grpo_plus"]) == compose(["experiment=real"])  # its own, said once more


def test_with_a_star_a_file_is_chosen_for_all_entries_and_each_keeps_its_inputs() -> None:
    rungs = compose(["rl.*=deepcoder", "rl.*.steps=4", "rl.*.max_tokens=64"])["rl"]
    assert {key: (rung["init"], rung["batch"]) for key, rung in rungs.items()} == {
        "short": ("sft/cold", 128),
        "long": ("rl/short", 128),
    }


def test_a_new_entry_begins_with_a_file() -> None:
    usual = compose([])
    mine = compose(["+evaluate.mine=rungs", "evaluate.mine.model=rl/short"])["evaluate"]
    assert mine == {**usual["evaluate"], "mine": {**usual["evaluate"]["rl-short"], "model": "rl/short"}}
    assert "Give it as an override: reforge compose +evaluate.mine=rungs evaluate.mine.model=…" in complaint(
        "+evaluate.mine=rungs"
    )


def test_where_a_value_comes_from_follows_the_file() -> None:
    found = origins([*FILE, "rl.*.batch=64"])
    assert re.fullmatch(r"conf/experiment/_road\.yaml:\d+", found["rl.long.init"])  # the entry's place in the graph
    assert re.fullmatch(r"conf/rl/deepcoder\.yaml:\d+", found["rl.long.temperature"])
    assert re.fullmatch(r"conf/rl/grpo_plus\.yaml:\d+", found["rl.short.temperature"])
    assert found["rl.long.batch"] == found["rl.short.batch"] == "the command line (rl.*.batch=64)"
    for key in ("rl.long.temperature", "rl.short.temperature"):
        path, _, line = found[key].rpartition(":")
        assert Path(path).read_text().splitlines()[int(line) - 1].startswith("temperature:")


# --- the graph


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["rl.long.init=sft/cool"],
            "rl.long.init: sft/cool is no stage; here a model is wanted, and base/policy, base/student, sft/cold, "
            "sft/student, rl/short do make one (rl.long.init was set by the command line (rl.long.init=sft/cool))",
        ),
        (["rl.long.init=sft"], "rl.long.init: sft is no stage; here a model is wanted"),
        (["~sft.cold"], "rl.short.init: sft/cold is no stage; here a model is wanted"),
        (
            ["rl.long.problems=sft/cold"],
            "rl.long.problems: sft/cold makes a model; here a set of problems is wanted, and curate/problems does",
        ),
        (
            ["sft.student.rollouts=rl/long"],
            "rl/long makes a model; here a set of rollouts is wanted, and sample/teacher",
        ),
        (["sample.teacher.model=evaluate/sft"], "sample.teacher.model: evaluate/sft makes nothing; here a model is"),
        (["~sample.teacher"], "here a set of rollouts is wanted, and nothing does make one"),
        (["rl.short.init=none"], "rl.short.init: is none, and a model is needed here"),
        (["base.policy.texts=none"], "base.policy.texts: is none, and a set of problems is needed here"),
        (["sft.student.rollouts=none"], "sft.student: problems and rollouts are both none: there is nothing to learn"),
    ],
)
def test_each_input_is_made_by_a_stage_that_makes_such(overrides: list[str], says: str) -> None:
    assert says in complaint(*overrides)


def test_what_is_optional_may_be_none_and_both_may_be_given() -> None:
    assert config().sft["cold"].inputs() == {"init": "base/policy", "problems": "curate/problems"}
    both = config("sft.student.problems=curate/problems").sft["student"].inputs()
    assert both == {"init": "base/student", "problems": "curate/problems", "rollouts": "sample/teacher"}


@pytest.mark.parametrize(
    ("overrides", "circle"),
    [
        (["rl.short.init=rl/long"], ["rl/short needs rl/long", "rl/long needs rl/short"]),
        (["rl.long.init=rl/long"], ["rl/long needs rl/long"]),
        (
            ["sft.cold.rollouts=sample/teacher"],
            ["sft/cold needs sample/teacher", "sample/teacher needs rl/long", "rl/short needs sft/cold"],
        ),
    ],
)
def test_stages_that_wait_for_each_other_are_named(overrides: list[str], circle: list[str]) -> None:
    said = complaint(*overrides)
    assert said.endswith(": none of them could be the first")
    assert any(step in said for step in circle)
    assert all(step.partition(" ")[0] in said for step in circle)


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("problems", "curate/more", "'curate/more'"), ("side", "train", "'train'"), ("count", "7", "7"),
        ("limits.short", "16", "{'short': 16, 'long': 64, 'longest': 128}"), ("confidence", "0.9", "0.9"),
    ],
)  # fmt: skip
def test_evaluations_that_one_report_could_not_compare_are_refused(field: str, value: str, shown: str) -> None:
    more = "+curate.more=generated"
    said, name = complaint(more, f"evaluate.sft.{field}={value}"), field.partition(".")[0]
    assert f"evaluate.sft.{name} is {shown} and evaluate.base.{name} is " in said
    assert f"For all: evaluate.*.{name}=…" in said
    compose([more, f"evaluate.*.{field}={value}"])


def test_how_many_rollouts_evaluations_draw_may_differ() -> None:
    assert config("evaluate.sft.rollouts=7").evaluate["sft"].rollouts == 7


@pytest.mark.parametrize("change", ["ks=[1]", "temperature=0.6", "top_p=0.9", "environment={kind: repair, turns: 3}"])
def test_evaluations_of_one_report_ask_alike(change: str) -> None:
    """Three turns with what the sandbox said beat one without."""
    name = change.partition("=")[0]
    assert f"evaluate.sft.{name} is " in complaint(f"evaluate.sft.{change}")
    compose([f"evaluate.*.{change}"])


def test_a_misspelt_entry_is_no_new_stage() -> None:
    assert "base has no 'polcy'; there are: policy, student. To add one" in complaint("base.polcy=qwen3")
    assert "third" in compose(["+rl.third=grpo_plus"])["rl"]


def test_a_table_of_free_names_is_given_whole_and_a_section_by_its_keys() -> None:
    values = compose(["rl.short.reward={format: 1.0}", "evaluate.*.limits={only: 48}", "rl.short.guards={gap: 3.0}"])
    assert values["rl"]["short"]["reward"] == {"format": 1.0}
    assert values["evaluate"]["sft"]["limits"] == {"only": 48}
    assert (values["rl"]["short"]["guards"]["gap"], values["rl"]["short"]["guards"]["ratio"]) == (3.0, 100.0)


def test_a_name_with_a_leading_underscore_is_that_name() -> None:
    assert "rl has no '_short'" in complaint("rl._short.steps=3")


@pytest.mark.parametrize("name", ["a b", "ü", "a/b", "a.b", "", "a@b", "a\n"])
def test_names_are_plain(name: str) -> None:
    """They name stages of DVC, folders and keys of overrides."""
    values = compose([])
    values["rl"][name] = values["rl"]["long"]
    with pytest.raises(UserError, match=re.escape(f"rl: {name!r} is no name: letters, digits, dashes and underscores")):
        build_config(values, "test")


@pytest.mark.parametrize("name", ["16k", "rl-long", "A_1", "7"])
def test_plain_names_may_be_of_digits(name: str) -> None:
    values = compose([])
    values["rl"][name] = values["rl"]["long"]
    assert f"rl/{name}" in instances(build_config(values, "test"))


def test_every_limit_must_leave_room_in_the_model_that_is_sampled() -> None:
    """The student has a context of its own; of a checkpoint its own files tell, which are read later."""
    said = complaint("sample.teacher.max_tokens=512")
    assert "sample.teacher.max_tokens is 512 but base.policy.architecture.context is 512: no prompt would fit" in said
    said = complaint("base.student.architecture.context=128")
    assert "evaluate.student.limits.longest is 128 but base.student.architecture.context is 128" in said
    config("sample.teacher.max_tokens=512", "base.policy.path=mine")


def test_lora_adds_to_what_was_trained_before() -> None:
    lora, path = "learner.lora={rank: 2, alpha: 4, targets: [q_proj]}", "base.policy.path=mine"
    said = (
        "learner.lora: adds to a trained model, and sft/cold begins with the random weights of base.policy, which has"
    )
    assert said in complaint(lora)
    assert "and sft/student begins with the random weights of base.student" in complaint(lora, path)
    config(lora, path, "base.student.path=small")


# --- what follows from the tables


def test_all_stages_and_how_overrides_call_them() -> None:
    assert list(instances(config("experiment=smoke"))) == [
        "curate/problems", "base/policy", "base/student", "sft/cold", "sft/student", "sample/teacher",
        "rl/short", "rl/long", "evaluate/sft", "evaluate/rl-long",
    ]  # fmt: skip
    assert dotted("rl/short") == dotted("rl@short") == "rl.short"


def test_where_an_input_lies() -> None:
    assert Slot("model").path("rl/short") == "outputs/rl/short/model"
    assert Slot("problems").path("curate/problems") == "outputs/curate/problems/data"
    assert Slot("rollouts", optional=True).path("none") == "outputs/none/data"
    assert (Path("outputs/none/model").is_dir(), Path("outputs/none/data").is_dir()) == (True, True)


def test_what_a_model_began_with_and_what_began_with_it() -> None:
    found = config()
    names = (
        "base/policy",
        "sft/cold",
        "rl/long",
        "sample/teacher",
        "evaluate/rl-long",
        "sft/student",
        "evaluate/student",
    )
    assert [base_of(found, name) for name in names] == [*["policy"] * 5, *["student"] * 2]
    assert list(begun_with(found, "base@student")) == ["sft/student", "evaluate/student"]
    assert list(begun_with(found, "base@policy")) == [
        "sft/cold", "sample/teacher", "rl/short", "rl/long", "evaluate/base", "evaluate/sft", "evaluate/rl-short",
        "evaluate/rl-long",
    ]  # fmt: skip
    assert begun_with(found, "rl@short") == {}


@pytest.mark.parametrize(
    ("overrides", "limit", "models"),
    [
        ([], "long", ("rl-long", "sft")),
        (["rl.long.max_tokens=70"], "longest", ("rl-long", "sft")),  # the last rung's is none of those evaluated at
        (["~evaluate.rl-long"], "short", ("rl-short", "sft")),
        (["~evaluate.sft"], "long", None),
        (["rl.short.init=base/policy"], "long", ("rl-long", "base")),
        (["~evaluate.rl-short", "~evaluate.rl-long"], "longest", None),
        (["~evaluate.*"], "", None),
    ],
)
def test_what_the_report_compares(overrides: list[str], limit: str, models: tuple[str, str] | None) -> None:
    found = config(*overrides)
    assert (compared_limit(found), compared_models(found)) == (limit, models)
