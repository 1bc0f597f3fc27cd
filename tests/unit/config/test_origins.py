"""Which of several values holds, and what an error says of where it was set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reforge.config.compose import compose, origins
from reforge.config.load import with_origins
from reforge.config.params import keep_origins, kept_origins, write_params
from reforge.errors import UserError

pytestmark = pytest.mark.usefixtures("repository")

MINE = """\
defaults: [_published]
sources: {mine: {adapter: reforge, path: mine.jsonl}}
heldout: 20
"""


def mine(project: Path) -> None:
    (project / "conf/curate/mine.yaml").write_text(MINE)
    (project / "mine.jsonl").write_text("{}\n")


def test_a_group_of_the_command_line_has_its_own_values_and_not_the_experiment_s(project: Path) -> None:
    mine(project)
    usual, other = compose(["experiment=smoke"]), compose(["experiment=smoke", "curate.problems=mine"])
    before, problems = usual["curate"]["problems"], other["curate"]["problems"]
    assert (before["heldout"], before["tests_per_problem"]) == (16, 8)
    assert (problems["heldout"], problems["tests_per_problem"], problems["train"]) == (20, 5, None)
    assert {**other, "curate": usual["curate"]} == usual
    again = compose(["curate.problems.heldout=7", "experiment=smoke", "curate.problems=mine"])
    assert again["curate"]["problems"]["heldout"] == 7
    # The experiment's own choice, said once more, changes nothing.
    assert compose(["experiment=smoke", "curate.problems=generated", "base.policy=fresh"]) == usual


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["experiment=real", "base.policy=qwen3"],
            "base.policy.architecture.context was set by conf/base/fresh.yaml:11",
        ),
        (
            ["experiment=real", "base.policy=qwen3"],
            "evaluate.base.limits.longest was set by conf/experiment/real.yaml:",
        ),
        (["rl.*.updates=3"], "rl.long.batch was set by conf/rl/grpo_plus.yaml:"),
        (["rl.*.updates=3"], "rl.long.updates was set by the command line (rl.*.updates=3)"),
        (["~rl.*"], "(sample.teacher.model was set by conf/sample/teacher.yaml:1)"),  # rl is not there to say anything
    ],
)
def test_an_error_about_a_value_names_what_set_it(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(overrides)
    assert says in str(caught.value)


def test_only_what_is_named_is_said_to_have_been_set() -> None:
    """Not a table by the name of a stage in it, nor a section by that of a key in it."""
    found = {"rl": "a", "rl.short": "b", "rl.short.init": "c", "sft": "d", "evaluate": "e", "evaluate.sft.count": "f"}
    assert with_origins("rl.short.init: sft/cold is no stage.", found).endswith("(rl.short.init was set by c)")
    assert with_origins("For all: evaluate.*.count=…", found) == "For all: evaluate.*.count=…"
    assert with_origins("rl/short needs rl/long.", found) == "rl/short needs rl/long."
    assert with_origins("rl.short: init and steps.", found).endswith(
        "(rl.short was set by b; rl.short.init was set by c)"
    )


def test_a_stage_names_it_too_as_long_as_the_values_are_those(project: Path) -> None:
    write_params(compose(["experiment=smoke"]), Path("params.yaml"))
    keep_origins(origins(["experiment=smoke"]), Path("params.yaml"))
    key = "curate.problems.tests_per_problem"
    text = with_origins(f"Too few: {key} is 8.", kept_origins(Path("params.yaml")))
    assert re.search(rf"is 8\. \({re.escape(key)} was set by conf/experiment/smoke\.yaml:\d+\)$", text)
    line = int(text.rpartition(":")[2].rstrip(")"))
    assert "tests_per_problem: 8" in Path("conf/experiment/smoke.yaml").read_text().splitlines()[line - 1]
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "# edited\n")
    assert kept_origins(Path("params.yaml")) == {}


@pytest.mark.parametrize("text", ["# @package _global_\ndefaults: [smoke, _self_]\n", "defaults: [smoke]\n",
    "# @package _global_\ndefaults: [smoke, _self_]\nexperiment: other\n"])  # fmt: skip
def test_an_experiment_is_called_what_its_file_is_called(project: Path, text: str) -> None:
    Path("conf/experiment/mine.yaml").write_text(text)
    with pytest.raises(UserError, match=r"conf/experiment/mine\.yaml: `experiment` is .*Write: experiment: mine"):
        compose(["experiment=mine"])


def test_the_name_of_a_table_is_not_said_to_have_been_set() -> None:
    found = origins(["experiment=smoke"])
    assert not {"rl", "evaluate"} & found.keys()
    assert {"rl.short", "rl.short.steps", "seed"} <= found.keys()
