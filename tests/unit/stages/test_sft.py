"""What supervised steps learn from: worked answers, sampled ones that are right and whole, or both."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.environments.template import Template, worked_answer
from reforge.errors import UserError
from reforge.policy.batches import Row
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.position import position
from reforge.problems.store import write_problems
from reforge.records import Problem, Reward, Rollout, Status, TestCase, Verdict
from reforge.rollouts.store import to_row, write_rows
from reforge.stages import sft

TOKENIZER = train_tokenizer(["Write solve(x). pass"] * 3, 300)
WORKED = Problem("p1", "Write solve(x).", "pass", (TestCase("call", "[1]", "1"),))
UNSOLVED = Problem("p2", "Write it.", "", (TestCase("call", "[1]", "1"),))


def sampled(number: int, status: Status, finish: str) -> dict[str, Any]:
    ids = (number, number)
    rollout = Rollout("p1", number, 0, (0, 0), (7, number), ids, (-0.1,) * 2, finish, "")  # type: ignore[arg-type]
    return to_row(rollout, Reward(float(status.solved or 0), status.solved, {}, Verdict(status)))


@pytest.fixture
def learned(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs sft@student with these inputs, and returns the rows that it would train on."""
    write_problems(tmp_path / "problems" / "train.parquet", [WORKED, UNSOLVED])
    taken: list[Row] = []
    monkeypatch.setattr(sft, "open_learner", lambda *_: SimpleNamespace(tokenizer=TOKENIZER))
    monkeypatch.setattr(sft, "finetune", lambda ctx, learner, rows, aside, config: taken.extend([*rows, *aside]))

    def run(rollouts: list[dict[str, Any]], *overrides: str) -> list[Row]:
        write_rows(tmp_path / "rollouts" / "rollouts.parquet", rollouts)
        config = build_config(compose(["experiment=smoke", *overrides]), "test")
        sft.run(
            SimpleNamespace(  # type: ignore[arg-type]
                cfg=config, key="student", where="sft.student", seed=0, input=lambda slot: tmp_path / slot
            )
        )
        return taken

    return run


DRAWN = [
    sampled(1, Status.ACCEPTED, "stop"), sampled(2, Status.ACCEPTED, "length"), sampled(3, Status.WRONG_ANSWER, "stop"),
    sampled(4, Status.INFRASTRUCTURE, "stop"), sampled(5, Status.ACCEPTED, "stop"),
]  # fmt: skip
RIGHT = [Row((7, 1), (1, 1)), Row((7, 5), (5, 5))]
TEMPLATE = Template(TOKENIZER)
BY_HAND = Row(TEMPLATE.question(WORKED), TEMPLATE.answer(worked_answer(WORKED)))


def test_of_sampled_answers_those_that_are_right_and_ended_by_themselves(learned) -> None:
    assert learned(DRAWN) == RIGHT


def test_of_worked_answers_those_that_there_are(learned) -> None:
    assert learned(DRAWN, "sft.student.rollouts=none", "sft.student.problems=curate/problems") == [BY_HAND]


def test_both_may_be_learned_from(learned) -> None:
    assert learned(DRAWN, "sft.student.problems=curate/problems") == [BY_HAND, *RIGHT]


def test_where_there_is_no_answer_both_inputs_are_named(learned) -> None:
    said = r"^sft\.student: there is no answer to learn from\. .*problem of none .*rollout of sample/teacher solved"
    with pytest.raises(UserError, match=said):
        learned(DRAWN[1:4])


def test_whole_families_are_set_aside_and_answers_to_one_problem_stay_together(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [
        Problem(f"p{number}", "Write solve(x).", "pass", WORKED.tests, family=f"f{number // 2}") for number in range(40)
    ]
    write_problems(tmp_path / "problems" / "train.parquet", problems)
    drawn = [sampled(number, Status.ACCEPTED, "stop") | {"problem_id": f"p{number}"} for number in range(40)]
    write_rows(tmp_path / "rollouts" / "rollouts.parquet", drawn)
    sides: list[Any] = []
    monkeypatch.setattr(sft, "open_learner", lambda *_: SimpleNamespace(tokenizer=TOKENIZER))
    monkeypatch.setattr(sft, "finetune", lambda ctx, learner, rows, aside, config: sides.append((rows, aside)))

    def split(share: float) -> tuple[list[Row], list[Row]]:
        changed = [f"sft.student.validation={{share: {share}, every: 1, patience: 1, cooling: 0}}"]
        config = build_config(compose(["experiment=smoke", "sft.student.problems=curate/problems", *changed]), "test")
        place: Any = SimpleNamespace(
            cfg=config, key="student", where="sft.student", seed=0, input=lambda slot: tmp_path / slot
        )
        sft.run(place)
        return sides[-1]

    rows, aside = split(0.3)
    held = {number for number in range(40) if position(f"f{number // 2}") >= 0.7}
    assert 0 < len(held) < 40
    assert [row.token_ids[0] for row in aside if row != BY_HAND] == sorted(held)
    assert aside.count(BY_HAND) == len(held)
    assert len(rows) + len(aside) == 80
    validated = "sft.student.validation={share: 0.3, every: 1, patience: 1, cooling: 0}"
    with pytest.raises(UserError, match=r"families are set aside, and only problems \(here none\) know theirs"):
        build_config(compose(["experiment=smoke", validated]), "x")
    with pytest.raises(
        UserError, match=r"sft\.student\.validation\.share=1e-06 of 80 answers leaves 80 .* and 0 aside"
    ):
        split(1e-6)
