"""A learner's state: what is resumed is bitwise what was saved, and half a save is no save."""

from pathlib import Path

import pytest
import torch

from reforge.compose import compose
from reforge.config import Architecture
from reforge.params import build_config
from reforge.policy.learner import Learner, build_learner
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.training import checkpoint

ARCHITECTURE = Architecture(hidden_size=32, intermediate_size=64, layers=1, heads=1, context=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(["def solve(x):\n    return x\n"], 300)
    save_model(new_model(ARCHITECTURE, tokenizer, seed=0), tokenizer, tmp_path / "model")
    return tmp_path


def learner(folder: Path) -> Learner:
    return build_learner(folder / "model", build_config(compose(["experiment=smoke"]), "test").learner, seed=0)


def step(learner: Learner) -> None:
    logprobs, _ = learner.logprobs(torch.tensor([[5, 6, 7, 8]]), torch.tensor([[0, 1, 1, 1]]))
    learner.backward(-logprobs.mean(), last=True)
    learner.step(1e-2)


def weights(learner: Learner) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in learner.model.parameters()]


def test_resumed_training_equals_uninterrupted_training_bitwise(folder: Path) -> None:
    """Weights alone would not do: the second step depends on the optimiser's moments too."""
    whole, first = learner(folder), learner(folder)
    for _ in range(3):
        step(whole)
    step(first)
    checkpoint.save(first, folder / "states", 1)
    resumed = learner(folder)
    assert checkpoint.resume(resumed, folder / "states") == 1
    for _ in range(2):
        step(resumed)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))

    forgetful = learner(folder)  # the planted defect: weights restored, moments not
    forgetful.model.load_state_dict(first.model.state_dict())
    for _ in range(2):
        step(forgetful)
    assert not all(torch.equal(a, b) for a, b in zip(weights(whole), weights(forgetful), strict=True))


def test_only_the_newest_complete_checkpoint_counts(folder: Path) -> None:
    policy, states = learner(folder), folder / "states"
    assert checkpoint.resume(policy, states) == 0
    checkpoint.save(policy, states, 1)
    checkpoint.save(policy, states, 2)
    assert [path.name for path in sorted(states.iterdir())] == ["000002"]
    (states / "000003").mkdir()  # a save that was killed before its mark
    assert checkpoint.resume(policy, states) == 2


def test_a_state_that_carries_code_is_refused(folder: Path) -> None:
    policy, states = learner(folder), folder / "states"
    checkpoint.save(policy, states, 1)
    (file,) = states.glob("*/state/mp_rank_00_model_states.pt")
    torch.save({"module": Planted()}, file)
    with pytest.raises(Exception, match="weights_only"):
        checkpoint.resume(policy, states)
    assert not Planted.ran


class Planted:
    ran = False

    def __reduce__(self) -> tuple[object, ...]:
        return (setattr, (Planted, "ran", True))
