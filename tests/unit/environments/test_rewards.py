"""Rewards in parts, and the environments that ask for more than one turn."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from reforge.config.sampling import PARTS as NAMED
from reforge.config.sampling import Environment, OwnFile
from reforge.environments.code import Code
from reforge.environments.repair import Repair
from reforge.environments.rewards import PARTS, Graded, Rewards
from reforge.environments.template import parse
from reforge.errors import UserError
from reforge.files.digests import sha256
from reforge.frame.environment import environment_of
from reforge.frame.own import OwnEnvironment
from reforge.lineage.declared import Audit, audited
from reforge.records import Problem, Reward, Rollout, Status, TestCase, Verdict

PROBLEM = Problem("p", "Add them.", "", (TestCase("call", "[1]", "2"),), entry_point="f")
THOUGHT = "<think>\none more\n</think>\n```python\ndef f(x): return x + 1\n```"


def rollout(text: str, turn: int = 0) -> Rollout:
    return Rollout("p", 0, 0, (0,), (1,), (2,), (-0.1,), "stop", text, turn)


def graded(text: str, status: Status = Status.ACCEPTED) -> Graded:
    return Graded(PROBLEM, rollout(text), parse(text), Verdict(status))


@pytest.mark.parametrize(
    ("text", "answer", "well_formed"),
    [
        (THOUGHT, THOUGHT.partition("</think>")[2], True),
        ("just code", "just code", False),
        ("<think>never ended", "", False),
        ("before <think>a</think> after", " after", False),
        ("<think>a</think>", "", False),
        ("<think>a</think>b</think>c", "c", False),
        ("<think>a<think>b</think>c", "c", False),
        ("thought in the prompt</think>c", "c", False),
        ("<think>a</think>b<think>again", "b", False),
    ],
)
def test_a_completion_in_its_parts(text: str, answer: str, well_formed: bool) -> None:
    parsed = parse(text)
    assert parsed.answer == (None if text == "<think>never ended" else answer)
    assert parsed.well_formed == well_formed


def test_a_reward_is_the_weighted_sum_of_its_parts_by_hand() -> None:
    rewards = Rewards({"accuracy": 1.0, "format": 0.1}, {})
    assert rewards(graded(THOUGHT)).value == pytest.approx(1.1)
    assert rewards(graded("just code")).value == 1.0
    wrong = rewards(graded(THOUGHT, Status.WRONG_ANSWER))
    assert (wrong.value, wrong.solved, wrong.parts) == (0.1, False, {"accuracy": 0.0, "format": 1.0})
    assert rewards(graded(THOUGHT, Status.INFRASTRUCTURE)) == Reward(None, None, {}, Verdict(Status.INFRASTRUCTURE))


def test_what_is_solved_does_not_hang_on_the_weights() -> None:
    assert Rewards({"format": 5.0}, {})(graded("just code")).solved is True
    assert Rewards({"accuracy": 2.0, "format": 1.0}, {})(graded(THOUGHT, Status.TIME_LIMIT)).solved is False


def test_the_config_knows_the_parts_that_there_are() -> None:
    assert tuple(PARTS) == NAMED


OWN = """
def short(graded):
    return 1.0 if len(graded.rollout.text) < 20 else 0.0

def broken(graded):
    raise KeyError("planted")

def nowhere(graded):
    return float("nan")

class Environment:
    def __init__(self, problems, template, judge, rewards):
        self.problems, self.rewards = problems, rewards
    def prompt(self, problem_id, past):
        return (1,) if len(past) < 2 else None
    def grade(self, rollout):
        return self.rewards(rollout)
"""


@pytest.fixture
def own(tmp_path: Path) -> OwnFile:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return OwnFile(path=str(path), sha256=sha256(path))


def made(reward: dict[str, float], own: OwnFile | None, kind: str = "code") -> Code:
    chosen = Environment(kind=kind, turns=1)  # type: ignore[arg-type]
    return environment_of(chosen, reward, own, {"p": PROBLEM}, SimpleNamespace(), SimpleNamespace())  # type: ignore


def test_a_part_of_ones_own_is_a_function_in_a_file(own: OwnFile) -> None:
    rewards = made({"accuracy": 1.0, "short": 0.5}, own).rewards
    assert rewards(graded("just code")).parts == {"accuracy": 1.0, "short": 1.0}
    assert rewards(graded(THOUGHT)).value == 1.0
    with pytest.raises(
        UserError,
        match=r"'broken' of the reward failed for rollout p/0: KeyError.* at \S+mine\.py:\d+\.",
    ):
        made({"broken": 1.0}, own).rewards(graded("x"))
    with pytest.raises(UserError, match="part 'nowhere' of the reward is nan"):
        made({"nowhere": 1.0}, own).rewards(graded("x"))
    with pytest.raises(UserError, match=r"mine\.py defines no function missing\(graded\)"):
        made({"missing": 1.0}, own)


def test_an_environment_of_ones_own_is_a_class_in_a_file(own: OwnFile) -> None:
    environment = made({"accuracy": 1.0}, own, "own")
    assert environment.prompt("p", []) == (1,)
    Path(own.path).write_text("")
    empty = own.model_copy(update={"sha256": sha256(Path(own.path))})
    with pytest.raises(UserError, match="defines no class Environment"):
        made({"accuracy": 1.0}, empty, "own")


def test_a_file_of_ones_own_that_has_changed_or_is_gone_is_refused(own: OwnFile) -> None:
    Path(own.path).write_text(OWN + "\n# changed\n")
    with pytest.raises(UserError, match="has changed since it was composed"):
        made({"short": 1.0}, own)
    Path(own.path).unlink()
    with pytest.raises(UserError, match="There is no file"):
        made({"short": 1.0}, own)


class Template:
    def question(self, problem: Problem) -> tuple[int, ...]:
        return (1,)

    def prompt(self, messages: object) -> object:
        return messages


def test_repair_asks_again_without_the_thinking_and_tells_nothing_of_a_hidden_test() -> None:
    repair = Repair({"p": PROBLEM}, Template(), SimpleNamespace(), Rewards({"accuracy": 1.0}, {}))  # type: ignore
    verdict = Verdict(Status.WRONG_ANSWER, "returned 41, not 42", 3)
    past = [(rollout(THOUGHT), Reward(0.0, False, {}, verdict))]
    first, answered, said = repair.prompt("p", past)  # type: ignore[misc]
    assert first == {"role": "user", "content": "Add them."}
    assert answered == {"role": "assistant", "content": "```python\ndef f(x): return x + 1\n```"}
    assert said == {"role": "user", "content": "That is not right: it gives a wrong answer. Write it again, whole."}
    assert repair.prompt("p", [(rollout(THOUGHT), Reward(1.0, True, {}, Verdict(Status.ACCEPTED)))]) is None
    assert repair.prompt("p", []) == [first]


@pytest.mark.parametrize("status", [one for one in Status if one.conclusive and one is not Status.ACCEPTED])
def test_there_are_words_for_every_verdict_that_is_shown(status: Status) -> None:
    repair = Repair({"p": PROBLEM}, Template(), SimpleNamespace(), Rewards({"accuracy": 1.0}, {}))  # type: ignore
    past = [(rollout(""), Reward(0.0, False, {}, Verdict(status)))]
    assert len(repair.prompt("p", past) or ()) == 3


DATACLASS = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Box:
    size: int

def short(graded):
    return Box(2).size
"""


def test_a_file_of_ones_own_runs_as_it_is_and_leaves_nothing_beside_it(
    own: OwnFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the audit, as in a stage, also where Python would write bytecode; and never bytecode of another time."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = Path(own.path)
    path.write_text(DATACLASS)
    first = own.model_copy(update={"sha256": sha256(path)})
    with audited(Audit(tmp_path, ["mine.py"], "rl@short")):
        assert made({"short": 1.0}, first).rewards(graded("x")).value == 2.0
    assert [one.name for one in tmp_path.iterdir()] == ["mine.py"]
    stat = path.stat()
    path.write_text(DATACLASS.replace("Box(2)", "Box(3)"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = own.model_copy(update={"sha256": sha256(path)})
    assert made({"short": 1.0}, second).rewards(graded("x")).value == 3.0


def test_what_a_class_of_ones_own_raises_is_told_as_theirs(own: OwnFile) -> None:
    environment = made({"accuracy": 1.0}, own, "own")
    with pytest.raises(UserError, match=r"mine\.py: Environment\.grade failed: AttributeError.* at \S+mine\.py:\d+\."):
        environment.grade(rollout("x"))  # it hands its rewards a rollout


@pytest.mark.parametrize("ids", ["hello", (), [1.5], [True], [-1], 7], ids=repr)
def test_a_prompt_that_is_none_is_told_as_theirs(ids: object) -> None:
    environment = OwnEnvironment("mine.py", SimpleNamespace(prompt=lambda problem_id, past: ids))
    with pytest.raises(UserError, match=r"mine\.py: Environment\.prompt returned .* for p\. It must return the"):
        environment.prompt("p", [])


def test_a_grade_that_is_no_reward_is_told_as_theirs() -> None:
    environment = OwnEnvironment("mine.py", SimpleNamespace(grade=lambda rollout: 0.5))
    with pytest.raises(UserError, match=r"mine\.py: Environment\.grade returned 0\.5 for p/0\. It must return"):
        environment.grade(rollout("x"))


def test_a_file_of_ones_own_that_is_no_python_names_the_line(own: OwnFile) -> None:
    Path(own.path).write_text("import os\ndef short(graded:\n")
    broken = own.model_copy(update={"sha256": sha256(Path(own.path))})
    with pytest.raises(UserError, match=r"mine\.py, line 2: "):
        made({"short": 1.0}, broken)
