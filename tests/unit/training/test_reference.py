"""The reference that KL is measured from, renewed on the way: alone, on two ranks, in checkpoints, in the loop."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from reforge.config.training import Loss
from reforge.policy.batches import build_batch
from reforge.policy.learner import Learner
from reforge.training import checkpoint, learn
from reforge.training.update import update
from tests.unit.training.forked import run
from tests.unit.training.policies import LOSS, new_policy, objective, open_policy, rows
from tests.unit.training.test_ranks import distance

KL: dict[str, Any] = {"estimator": "k3", "coefficient": 0.5, "weighted": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_policy(tmp_path / "model")
    return tmp_path


def step(learner: Learner) -> float:
    """One update; the KL that it began at."""
    metrics, _ = update(learner, [build_batch(rows(0), 96)], objective(1e-2, kl=KL))
    return metrics["kl/reference"]


@pytest.mark.parametrize("zero", [0, 3])
def test_after_renewing_kl_begins_at_nothing(folder: Path, zero: int) -> None:
    learner = open_policy(folder / "model", reference=True, zero_stage=zero)
    step(learner)
    assert step(learner) > 1e-5
    learner.renew_reference()
    assert step(learner) == pytest.approx(0.0, abs=1e-7)
    assert step(learner) > 1e-5


def test_with_lora_it_is_the_policy_with_its_additions(folder: Path) -> None:
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]}
    learner = open_policy(folder / "model", reference=True, lora=lora)
    step(learner)
    step(learner)
    assert step(learner) > 1e-6
    learner.renew_reference()
    assert step(learner) == pytest.approx(0.0, abs=1e-6)


def test_a_resumed_run_has_the_reference_of_the_uninterrupted_one(folder: Path) -> None:
    def begun() -> Learner:
        learner = open_policy(folder / "model", reference=True)
        step(learner)
        learner.renew_reference()
        step(learner)
        return learner

    whole, killed = begun(), begun()
    checkpoint.save(killed, folder / "states", 2)
    resumed = open_policy(folder / "model", reference=True)
    assert checkpoint.resume(resumed, folder / "states") == 2
    assert step(resumed) == step(whole) > 1e-5

    forgetful = open_policy(folder / "model", reference=True)  # the planted defect: the first policy again
    (folder / "states" / "000002" / "reference.safetensors").unlink()
    forgetful.load_state(folder / "states" / "000002")
    assert step(forgetful) != step(open_policy(folder / "model", reference=True))
    assert not forgetful.renewed


def test_a_reference_that_was_never_renewed_is_in_no_checkpoint(folder: Path) -> None:
    learner = open_policy(folder / "model", reference=True)
    checkpoint.save(learner, folder / "states", 1)
    assert not list((folder / "states").rglob("reference.safetensors"))


@pytest.mark.parametrize("zero", [1, 3])
def test_two_ranks_renew_it_as_one_does(tmp_path_factory: pytest.TempPathFactory, zero: int) -> None:
    folder = tmp_path_factory.mktemp("renewed")
    new_policy(folder / "model")
    for ranks in (1, 2):
        spec = {"learner": {"zero_stage": zero}, "loss": {"kl": KL}, "renew": 2, "out": str(folder / f"out{ranks}")}
        run(folder, ranks, steps=[1, 3], states=str(folder / f"states{ranks}"), save=True, **spec)
    one, two = (folder / f"out{ranks}" / "model.safetensors" for ranks in (1, 2))
    assert distance(one, two) < 1e-5
    kept = [load_file(folder / f"states{ranks}" / "000003" / "reference.safetensors") for ranks in (1, 2)]
    assert kept[0].keys() == kept[1].keys()
    assert max(float((kept[0][name] - kept[1][name]).abs().max()) for name in kept[0]) < 1e-5


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 12))
def test_the_loop_renews_it_before_the_steps_after_each_multiple(refresh: int, steps: int) -> None:
    """With 400 as in DeepSeek-R1: before step 401, 801, …, and never before the first."""
    renewed = [number for number in range(1, steps + 1) if learn.renews(refresh, number)]
    assert renewed == [number for number in range(2, steps + 1) if number % refresh == 1 % refresh]


def test_without_refresh_it_stays_the_first_policy() -> None:
    assert not any(learn.renews(None, number) for number in range(1, 1000))


def test_a_lower_clip_of_one_or_more_is_off() -> None:
    """Kevin clips with ε = 10 on both sides: no ratio is below 1 − 10."""
    assert Loss.model_validate({**LOSS, "clip_low": 10.0, "clip_high": 10.0}).clip_low == 10.0
