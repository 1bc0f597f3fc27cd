"""Evaluation with a reward of one's own: what is solved is what the verdict says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.frame.environment import environment_of
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.store import write_problems
from reforge.records import Problem, Status, TestCase, Verdict
from reforge.stages import evaluate
from tests.unit.stages.fakes import Sampler, given

STATUSES = [Status.ACCEPTED, Status.WRONG_ANSWER, Status.ACCEPTED, Status.INFRASTRUCTURE]


class Judge:
    def judge(self, program: str, problem: Problem) -> Verdict:
        return Verdict(STATUSES[int(problem.id)])


@pytest.mark.parametrize("reward", [{"accuracy": 1.0}, {"accuracy": 0.5, "format": 0.1}])
def test_pass_at_1_is_the_same_under_any_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reward: dict[str, float]
) -> None:
    """AC, WA, AC and INFRA: 2 of 3."""

    def rewarded(chosen: Any, usual: Any, *rest: Any) -> Any:
        return environment_of(chosen, reward, *rest)

    problems = [Problem(str(n), "s", "pass", (TestCase("stdin", "", ""),)) for n in range(len(STATUSES))]
    write_problems(tmp_path / "problems" / "heldout.parquet", problems)
    monkeypatch.setattr(evaluate, "environment_of", rewarded)
    monkeypatch.setattr(evaluate, "judge_of", lambda ctx: given(Judge()))
    monkeypatch.setattr(evaluate, "sampler_of", lambda *args: given(Sampler()))
    monkeypatch.setattr(evaluate, "load_tokenizer", lambda folder: train_tokenizer(["pass"] * 3, 300))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"max_position_embeddings": 256}')
    (tmp_path / "model" / "tokenizer_config.json").write_text("{}")
    config = build_config(compose(["experiment=smoke", "evaluate.*.ks=[1]"]), "test")
    ctx: Any = SimpleNamespace(
        cfg=config, key="sft", name="evaluate@sft", out=tmp_path, metrics={}, input=lambda slot: tmp_path / slot
    )
    evaluate.run(ctx)
    table = json.loads((tmp_path / "scores.json").read_text())["limits"]["short"]
    assert table["pass@1"]["value"] == pytest.approx(2 / 3)
    assert table["infra"] == 2
    rows = pq.read_table(tmp_path / "rollouts.parquet").to_pylist()
    assert {row["problem_id"]: row["solved"] for row in rows} == {"0": True, "1": False, "2": True, "3": None}
