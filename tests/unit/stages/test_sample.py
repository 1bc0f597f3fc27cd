"""Answers to learn from: how many are drawn of which problems, and where they lie."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.errors import UserError
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.store import write_problems
from reforge.records import Problem, Status, TestCase, Verdict
from reforge.rollouts.sampler import Sampling
from reforge.stages import sample
from tests.unit.stages.fakes import Sampler, given


class Judge:
    """Accepts what comes of problems with an even number."""

    def judge(self, program: str, problem: Problem) -> Verdict:
        return Verdict(Status.WRONG_ANSWER if int(problem.id) % 2 else Status.ACCEPTED)


@pytest.fixture
def drawn(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs sample@teacher over six problems; what the sampler was asked for, the stage's metrics, and its rows."""
    problems = [Problem(str(n), "s", "pass", (TestCase("stdin", "", ""),)) for n in range(6)]
    write_problems(tmp_path / "problems" / "train.parquet", problems)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"max_position_embeddings": 256}')
    (tmp_path / "model" / "tokenizer_config.json").write_text("{}")
    monkeypatch.setattr(sample, "judge_of", lambda ctx: given(Judge()))
    monkeypatch.setattr(sample, "load_tokenizer", lambda folder: train_tokenizer(["pass"] * 3, 300))

    def run(*overrides: str, seed: int = 5) -> tuple[list[Any], dict[str, float], list[dict[str, Any]]]:
        sampler, out = Sampler(), tmp_path / "out"
        monkeypatch.setattr(sample, "sampler_of", lambda *_: given(sampler))
        config = build_config(compose(["experiment=smoke", *overrides]), "test")
        ctx: Any = SimpleNamespace(
            cfg=config, key="teacher", name="sample@teacher", seed=seed, out=out, metrics={},
            input=lambda slot: tmp_path / slot,
        )  # fmt: skip
        sample.run(ctx)
        return sampler.asked, ctx.metrics, pq.read_table(out / "data" / "rollouts.parquet").to_pylist()

    return run


def test_each_problem_is_answered_and_judged_so_many_times(drawn) -> None:
    asked, metrics, rows = drawn(
        "sample.teacher.count=100", "sample.teacher.answers=3", "sample.teacher.temperature=0.7"
    )
    assert asked == [([str(n) for n in range(6)], 3, Sampling(0.7, 1.0, 56), "5")]
    assert {(row["problem_id"], row["index"]): row["solved"] for row in rows} == {
        (str(n), index): n % 2 == 0 for n in range(6) for index in range(3)
    }
    assert metrics == {"rollouts": 18.0, "solved": 0.5}


def test_which_problems_are_asked_depends_on_the_seed_alone(drawn) -> None:
    few = "sample.teacher.count=3"
    chosen = [drawn(few, seed=seed)[0][0][0] for seed in (5, 5, 6, 7)]
    assert [len(set(ids)) for ids in chosen] == [3] * 4
    assert chosen[0] == chosen[1]
    assert len({tuple(ids) for ids in chosen}) > 1


def test_what_the_model_has_no_room_for_is_not_begun(drawn, tmp_path: Path) -> None:
    (tmp_path / "model" / "config.json").write_text('{"max_position_embeddings": 58}')
    with pytest.raises(UserError, match=r"^sample\.teacher\.max_tokens is 56 and the longest prompt has \d+ tokens"):
        drawn()
    assert not (tmp_path / "out").exists()
