"""The inputs of a stage name stages that make such; limits, adapters and evaluations fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from reforge.config import base_of, begun_with, compared_limit, compared_models, dotted, instances
from reforge.config.compose import compose
from reforge.config.section import Instance, Slot
from reforge.errors import UserError
from tests.unit.config.composed import complaint, config

pytestmark = pytest.mark.usefixtures("repository")

# --- the graph


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["rl.long.init=sft/cool"],
            "rl.long.init: sft/cool is no stage; here a model is wanted, and base/policy, base/student, sft/cold, "
            "sft/student, sft/more, rl/short do make one. Did you mean sft/cold? (rl.long.init was set by the command "
            "line (rl.long.init=sft/cool))",
        ),
        (["rl.long.init=rl@short"], "rl/short do make one. Did you mean rl/short?"),
        (["rl.long.init=sft"], "rl.long.init: sft is no stage; here a model is wanted"),
        (
            ["~sft.cold", "~sft.more", "~evaluate.sft-more"],
            "rl.short.init: sft/cold is no stage; here a model is wanted",
        ),
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
        (["rl.short.init=rl/long"], ["rl.short.init is rl/long", "rl.long.init is rl/short"]),
        (["rl.long.init=rl/long"], ["rl.long.init is rl/long"]),
        (
            ["sft.cold.rollouts=sample/teacher"],
            ["sft.cold.rollouts is sample/teacher", "sample.teacher.model is rl/long", "rl.short.init is sft/cold"],
        ),
    ],
)
def test_stages_that_wait_for_each_other_are_named(overrides: list[str], circle: list[str]) -> None:
    said = complaint(*overrides)
    assert ": none of them could be the first. Let one begin with a different stage" in said
    assert all(step in said for step in circle)
    assert f"{overrides[0].partition('=')[0]} was set by the command line" in said


def test_what_a_kind_makes_is_one_of_three_things() -> None:
    with pytest.raises(TypeError, match=r"Count\.makes is 'statistics': model, problems, rollouts can be, or None"):
        type("Count", (Instance,), {"makes": "statistics", "__annotations__": {"makes": ClassVar[str]}})


def test_a_slot_that_a_kind_does_not_have_is_named() -> None:
    with pytest.raises(UserError, match=r"Sft has no slot 'problem'; there are: init, problems, rollouts"):
        config().sft["cold"].input("problem")


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("problems", "curate/more", "'curate/more'"), ("side", "train", "'train'"), ("count", "7", "7"),
        ("limits.short", "16", "{'short': 16, 'long': 56, 'longest': 112}"), ("confidence", "0.9", "0.9"),
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


def test_every_limit_must_leave_room_in_the_model_that_is_sampled() -> None:
    """The student has a context of its own; of a checkpoint its own files tell, which are read later."""
    said = complaint("sample.teacher.max_tokens=512")
    assert "sample.teacher.max_tokens is 512 but base.policy.architecture.context is 512: no prompt would fit" in said
    said = complaint("base.student.architecture.context=112")
    assert "evaluate.student.limits.longest is 112 but base.student.architecture.context is 112" in said
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
        "sft/cold", "sft/more", "sample/teacher", "rl/short", "rl/long", "evaluate/base", "evaluate/sft",
        "evaluate/rl-short", "evaluate/rl-long", "evaluate/sft-more",
    ]  # fmt: skip
    assert begun_with(found, "rl@short") == {}


@pytest.mark.parametrize(
    ("overrides", "limit", "models"),
    [
        ([], "long", [("rl-long", "sft"), ("rl-long", "sft-more")]),
        # the last rung's is none of those evaluated at
        (["rl.long.max_tokens=70"], "longest", [("rl-long", "sft"), ("rl-long", "sft-more")]),
        (["~evaluate.rl-long"], "short", [("rl-short", "sft"), ("rl-short", "sft-more")]),
        (["~evaluate.sft-more"], "long", [("rl-long", "sft")]),
        (["sft.more.init=sft/student"], "long", [("rl-long", "sft")]),  # not from where RL began
        (["~evaluate.sft"], "long", []),
        (["rl.short.init=base/policy"], "long", [("rl-long", "base"), ("rl-long", "sft")]),
        (["~evaluate.rl-short", "~evaluate.rl-long"], "longest", []),
        (["~evaluate.*"], "", []),
    ],
)
def test_what_the_report_compares(overrides: list[str], limit: str, models: list[tuple[str, str]]) -> None:
    found = config(*overrides)
    assert (compared_limit(found), compared_models(found)) == (limit, models)
