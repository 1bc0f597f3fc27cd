"""A finished pipeline in miniature: real files in the formats of the stages, small enough to read."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.evaluation.scores import Outcome, score_table
from reforge.problems.store import write_problems
from reforge.records import Problem, TestCase
from reforge.reports.inputs import digest
from reforge.tracking.tracker import Tracker

SKILL = {"base": 0.0, "sft": 0.45, "rl-short": 0.6, "rl-long": 0.74, "student": 0.5, "sft-more": 0.47}
LENGTHS = {"short": 48, "long": 96, "longest": 192}
HOSTILE = '<script>alert("x")</script><img src=http://evil.example/x.png>\u202e\x1b[2J'


def _problems(count: int) -> list[Problem]:
    return [
        Problem(
            id=f"gen-{i:03d}",
            statement=f"Given a list of integers, reverse it, keep those above {i % 9} and sum them.",
            solution="def solve(a):\n    return sum(x for x in a[::-1])",
            tests=(TestCase("call", "[[1, 2]]", "3"),),
            entry_point="solve",
            difficulty=1 + i % 8,
            family=f"family-{i}",
        )
        for i in range(count)
    ]


def _completion(rng: random.Random, tokens: int) -> str:
    thought = " ".join(f"step {i} gives {rng.randint(0, 99)}" for i in range(tokens // 8))
    code = "```python\ndef solve(a):\n    return sum(x for x in reversed(a) if x > 3)\n```"
    return f"<think>\n{thought}\n</think>\n{code if tokens < 96 else ''}"


def _evaluation(folder: Path, model: str, problems: list[Problem]) -> None:
    rng, rows, outcomes = random.Random(model), [], []
    for problem in problems:
        for index in range(4):
            tokens = min(192, max(8, int(rng.gauss(14 * problem.difficulty, 12))))
            solves = rng.random() < SKILL[model] * (1.25 - problem.difficulty / 14)
            broken = rng.random() < 0.002
            for name, limit in LENGTHS.items():
                cut = tokens > limit
                correct = None if broken else solves and not cut
                status = "INFRA" if broken else "AC" if correct else "NP" if cut else "WA"
                outcomes.append(Outcome(problem.id, problem.difficulty, name, correct, cut, min(tokens, limit)))
                rows.append(
                    {
                        "problem_id": problem.id,
                        "index": index,
                        "token_ids": list(range(min(tokens, limit))),
                        "finish_reason": "length" if cut else "stop",
                        "text": HOSTILE if status == "WA" and problem.difficulty < 3 else _completion(rng, tokens),
                        "status": status,
                        "solved": None if broken else correct,
                        "turn": 0,
                        "reason": "returned 12, not the expected value <b>" if status == "WA" else "",
                        "limit": name,
                    }
                )
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "rollouts.parquet")
    (folder / "scores.json").write_text(json.dumps(score_table(model, outcomes, [1, 2], 0.95, LENGTHS)))


def _rung(folder: Path, name: str, start: float, mean: float, limit: int) -> None:
    rng, lines = random.Random(name), []
    for step in range(1, 41):
        growth = step / 40
        lines.append(
            {
                "step": step,
                "reward/mean": min(1, start + 0.18 * growth + rng.gauss(0, 0.035)),
                "length/mean": min(limit, mean * (1 + 0.25 * growth) + rng.gauss(0, 1.5)),
                "truncated": max(0, 0.35 * (1 - growth * 0.7) * 48 / limit + rng.gauss(0, 0.02)),
                "infra": int(step == 7),
                "tokens/sampled": 10 * limit,
            }
        )
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(name.encode())
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def finished(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A context of the report stage over such files."""
    lengths = ", ".join(f"{name}: {limit}" for name, limit in LENGTHS.items())
    limits = ["rl.short.max_tokens=48", "rl.long.max_tokens=96", f"evaluate.*.limits={{{lengths}}}"]
    cfg = build_config(compose(["experiment=tiny", *limits]), "test")
    monkeypatch.chdir(tmp_path)
    outputs, problems = Path("outputs"), _problems(160)
    (outputs / "curate" / "problems" / "data").mkdir(parents=True)
    write_problems(outputs / "curate" / "problems" / "data" / "heldout.parquet", problems)
    funnel = {
        "read": {"in": 6240, "kept": 6240, "quarantined": 0},
        "verify": {"in": 6240, "kept": 6200, "quarantined": 40},
        "split": {"in": 6200, "train": 6000, "heldout": 160, "surplus": 40},
        "reasons": {"wrong answer": 31, "too few tests": 9},
        "difficulties": {"train": {str(d): 750 for d in range(1, 9)}, "heldout": {str(d): 20 for d in range(1, 9)}},
    }
    (outputs / "curate" / "problems" / "funnel.json").write_text(json.dumps(funnel))
    for name in ("base/policy", "sft/cold", "sft/student"):
        (outputs / name / "model").mkdir(parents=True)
        (outputs / name / "model" / "model.safetensors").write_bytes(name.encode())
    _rung(outputs / "rl" / "short", "short", 0.42, 31, 48)
    _rung(outputs / "rl" / "long", "long", 0.58, 46, 96)
    for model in SKILL:
        _evaluation(outputs / "evaluate" / model, model, problems)
    Path("verified.json").write_text(
        json.dumps({"outputs": {"outputs/sft/cold": digest(outputs / "sft/cold"), "outputs/base/policy": "other"}})
    )
    Path("report").mkdir()
    deps = {"outputs": outputs, "verified.json": Path("verified.json")}
    tracker = Tracker(tmp_path / "scratch", tmp_path / "runs")
    return SimpleNamespace(cfg=cfg, dep=deps.__getitem__, out=Path("report"), metrics={}, tracker=tracker)
