"""A fine-tuning that stops where answers which it does not see say so."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reforge.config.training import Sft
from reforge.errors import UserError
from reforge.frame.steps import finetune
from reforge.policy.batches import Row
from reforge.policy.model import load_model
from reforge.tracking.tracker import Tracker
from reforge.training import checkpoint, sft
from tests.unit.training.policies import new_policy, open_policy

ROWS = [Row((5, number), (6, 7, number)) for number in range(8, 40)]
ASIDE = [Row((5, number), (6, 7, number)) for number in range(40, 48)]
SFT: dict[str, Any] = {
    "init": "base/policy", "problems": "curate/problems", "rollouts": "none", "steps": 40, "epochs": None,
    "validation": {"share": 0.2, "every": 4, "patience": 2, "cooling": 0}, "batch": 8, "learning_rate": 3e-3,
    "warmup_steps": 0, "decay": "none", "floor": 0.0, "checkpoint_every": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_policy(tmp_path_factory.mktemp("policy"))


def tuned(policy: Path, place: Path, **changed: Any) -> Any:
    """A stage in `place`, run to its end."""
    for folder in ("scratch", "log", "out"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    tracker = Tracker(place / "scratch", place / "log")
    ctx: Any = SimpleNamespace(
        scratch=place / "scratch",
        out=place / "out",
        tracker=tracker,
        name="sft@cold",
        where="sft.cold",
        seed=0,
        metrics={},
    )
    finetune(ctx, open_policy(policy), ROWS, ASIDE, Sft.model_validate(SFT | changed))
    return ctx


def lines(ctx: Any) -> list[dict[str, float]]:
    return [json.loads(line) for line in (ctx.scratch / "metrics.jsonl").read_text().splitlines()]


def test_what_is_measured_is_the_mean_over_tokens_by_hand(policy: Path) -> None:
    rows = [Row((5, 9), (6, 7)), Row((5,), (30, 31, 32, 33))]
    found = sft.validate(open_policy(policy), rows)
    model = load_model(policy)
    logprobs = []
    for row in rows:
        logits = model(torch.tensor([[*row.prompt_ids, *row.token_ids]])).logits[0].detach()
        for at, token in enumerate(row.token_ids, len(row.prompt_ids) - 1):
            logprobs.append(float(torch.log_softmax(logits[at], -1)[token]))
    assert found["validation/loss"] == pytest.approx(-sum(logprobs) / 6, rel=1e-5)
    assert found["validation/accuracy"] == pytest.approx(sum(torch.tensor(logprobs).exp().tolist()) / 6, rel=1e-5)


@pytest.mark.parametrize(("accuracies", "reached"), [
    ([], None), ([0.5], None), ([0.5, 0.4], None), ([0.5, 0.4, 0.5], 12), ([0.5, 0.4, 0.6], None),
    ([0.1, 0.6, 0.5, 0.55], 16), ([0.1, 0.6, 0.5, 0.7], None), ([0.5, 0.4, 0.5, 0.9], 12),
])  # fmt: skip
def test_a_plateau_is_two_measurements_without_a_new_best(accuracies: list[float], reached: int | None) -> None:
    config = Sft.model_validate(SFT | {"validation": SFT["validation"] | {"cooling": 8}})
    steps = sft.cooling(config, {4 * at: accuracy for at, accuracy in enumerate(accuracies, 1)})
    assert steps == (None if reached is None else range(reached + 1, reached + 9))
    without = Sft.model_validate(SFT | {"validation": None})
    assert sft.cooling(without, {4: 0.5, 8: 0.4, 12: 0.3}) is None


def test_from_the_plateau_on_the_learning_rate_falls_to_its_floor() -> None:
    """Eight steps of cooling from 3e-3 to a tenth of it: step n of them is at 3e-3 · (0.1 + 0.9 · (1 − n/9))."""
    config = Sft.model_validate(SFT | {"floor": 0.1, "validation": SFT["validation"] | {"cooling": 8}})
    flat = {4: 0.6, 8: 0.5, 12: 0.6}
    assert sft.rate_of_step(config, {4: 0.6, 8: 0.5}, 12, 40) == 3e-3
    assert sft.rate_of_step(config, flat, 13, 40) == pytest.approx(3e-3 * (0.1 + 0.9 * 8 / 9))
    assert sft.rate_of_step(config, flat | {16: 0.9}, 20, 40) == pytest.approx(3e-3 * (0.1 + 0.9 / 9))
    assert [sft.ended(config, flat, step) for step in (12, 19, 20)] == [False, False, True]


def test_cooling_must_end_where_it_is_measured() -> None:
    with pytest.raises(ValueError, match="cooling=6: a multiple of every=4"):
        Sft.model_validate(SFT | {"validation": SFT["validation"] | {"cooling": 6}})


def scripted(monkeypatch: pytest.MonkeyPatch, accuracies: list[float]) -> None:
    """Let validation return these accuracies, one a measurement."""
    said = iter(accuracies)
    monkeypatch.setattr(sft, "validate", lambda *_: {"validation/loss": 1.0, "validation/accuracy": next(said)})


def test_the_model_is_that_of_the_best_measurement(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eight = tuned(policy, tmp_path / "eight", steps=8, validation=None)
    scripted(monkeypatch, [0.2, 0.6, 0.5, 0.6])
    stopped = tuned(policy, tmp_path / "stopped")
    assert [line["step"] for line in lines(stopped)] == list(range(1, 17))
    assert [line["step"] for line in lines(stopped) if "validation/accuracy" in line] == [4, 8, 12, 16]
    assert (stopped.metrics["steps"], stopped.metrics["validation/accuracy"]) == (8.0, 0.6)
    ours, theirs = ((ctx.out / "model/model.safetensors").read_bytes() for ctx in (stopped, eight))
    assert ours == theirs


def test_after_the_plateau_it_cools_and_what_is_best_then_counts(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.2, 0.6, 0.5, 0.6, 0.7, 0.8])
    cooled = tuned(policy, tmp_path, validation={"share": 0.2, "every": 4, "patience": 2, "cooling": 8})
    rates = [line["learning_rate"] for line in lines(cooled)]
    assert rates == pytest.approx([3e-3] * 16 + [3e-3 * (9 - step) / 9 for step in range(1, 9)])
    assert (cooled.metrics["steps"], cooled.metrics["validation/accuracy"]) == (24.0, 0.8)


@pytest.mark.parametrize("during", ["checkpoint", "best"])
def test_killed_at_its_best_it_ends_with_the_same_model(
    during: str, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 8 is the best: killed before that is kept at all, or before it is kept as the best."""
    scripted(monkeypatch, [0.2, 0.6, 0.5, 0.6])
    whole = tuned(policy, tmp_path / "whole")
    save = checkpoint.save

    def dies(learner: Any, folder: Path, step: int) -> None:
        if (folder.name, step) == (during, 8):
            raise KeyboardInterrupt
        save(learner, folder, step)

    scripted(monkeypatch, [0.2, 0.6])
    monkeypatch.setattr(checkpoint, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        tuned(policy, tmp_path / "killed")
    monkeypatch.setattr(checkpoint, "save", save)
    scripted(monkeypatch, [0.5, 0.6] if during == "best" else [0.6, 0.5, 0.6])
    resumed = tuned(policy, tmp_path / "killed")
    assert lines(resumed) == lines(whole)
    assert resumed.metrics == whole.metrics
    ours, theirs = ((ctx.out / "model/model.safetensors").read_bytes() for ctx in (resumed, whole))
    assert ours == theirs


def test_a_stage_that_would_never_measure_is_refused(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sft\.cold\.validation\.every=4: there are 3 steps"):
        tuned(policy, tmp_path, steps=3)
