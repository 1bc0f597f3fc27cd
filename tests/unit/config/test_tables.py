"""Tables of stages: how an override names entries of them, what the graph that they make must hold, what follows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reforge.config import instances
from reforge.config.compose import compose, origins
from reforge.config.load import build_config
from reforge.errors import UserError
from tests.unit.config.composed import complaint, written

pytestmark = pytest.mark.usefixtures("repository")


# --- overrides


def test_an_override_is_of_one_entry_or_with_a_star_of_all() -> None:
    usual = compose([])
    one = compose(["rl.short.steps=3"])
    assert (one["rl"]["short"]["steps"], one["rl"]["long"]) == (3, usual["rl"]["long"])
    every = compose(["rl.*.loss.clip_low=0.1", "evaluate.*.limits.longest=100"])
    assert [entry["loss"]["clip_low"] for entry in every["rl"].values()] == [0.1, 0.1]
    assert [entry["limits"]["longest"] for entry in every["evaluate"].values()] == [100] * 6
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
    student = compose(["sft.student=cold_start", "sft.student.validation=null"])["sft"]["student"]
    assert (student["init"], student["problems"], student["rollouts"]) == ("base/student", "none", "sample/teacher")
    assert (student["steps"], student["learning_rate"]) == (3000, 1.5e-3)


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


def test_an_entry_that_no_file_begins_is_one_line_with_the_nearest_name(project: Path) -> None:
    mine = "# @package _global_\ndefaults: [smoke, _self_]\nexperiment: mine\nsample:\n  teachr: {answers: 2}\n"
    Path("conf/experiment/mine.yaml").write_text(mine)
    with pytest.raises(UserError) as error:
        compose(["experiment=mine"])
    said = str(error.value)
    assert "sample.teachr: has answers and lacks " in said
    assert "did you mean sample.teacher? If not, let a file of conf/sample/ begin it" in said
    assert "sample.teachr.answers was set by conf/experiment/mine.yaml:5" in said
    assert "missing key" not in said


def test_below_what_is_null_nothing_can_be_set() -> None:
    said = complaint("rl.*.own.path=parts.py")
    assert said.endswith("rl.short.own is null here. Give it whole: rl.short.own={path: …}")


PART = "def short(graded):\n    return 1.0\n"


@pytest.mark.parametrize(("text", "part", "says"), [
    (PART, "shrt", "rl.short.reward.shrt: {} defines no shrt. Did you mean short?"),
    ("x = 1\n", "short", "rl.short.reward.short: {} defines no short. It defines: x"),
    ("def short(graded:\n", "short", "rl.short.own.path: {}, line 1 is not Python: "),
    ("\0", "short", "rl.short.own.path: {} is not Python: "),
])  # fmt: skip
def test_a_file_of_ones_own_is_looked_into_when_composing(tmp_path: Path, text: str, part: str, says: str) -> None:
    path = tmp_path / "parts.py"
    path.write_text(text)
    said = complaint(f"rl.*.own={{path: {path}}}", f"rl.*.reward={{accuracy: 1.0, {part}: 0.2}}")
    assert says.format(path) in said


def test_a_file_of_ones_own_is_never_the_name_of_a_data_set() -> None:
    """A name without a suffix may be one elsewhere."""
    said = complaint("rl.*.own={path: parts}", "rl.*.reward={short: 0.2}")
    assert "rl.short.own.path: " in said
    assert "parts cannot be read: No such file or directory. Correct it and compose again." in said


@pytest.mark.parametrize("text", [PART, "short = len\n", "from os import stat as short\n", "from parts import *\n",
    "try:\n    import short\nexcept ImportError:\n    short = None\n"])  # fmt: skip
def test_whatever_may_define_a_part_will_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "parts.py"
    path.write_text(text)
    values = compose([f"rl.*.own={{path: {path}}}", "rl.*.reward={short: 0.2}"])
    assert values["rl"]["short"]["own"]["sha256"]
