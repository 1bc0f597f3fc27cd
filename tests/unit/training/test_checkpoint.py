"""A learner's state: what is resumed is bitwise what was saved, and half a save is no save."""

from pathlib import Path

import pytest
import torch

from reforge.errors import InfrastructureError, UserError
from reforge.policy.batches import build_batch
from reforge.policy.learner import Learner
from reforge.training import checkpoint
from reforge.training.update import update
from tests.unit.training.policies import new_policy, objective, open_policy, rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_policy(tmp_path / "model")
    return tmp_path


def learner(folder: Path) -> Learner:
    return open_policy(folder / "model")


def step(learner: Learner) -> None:
    update(learner, [build_batch(rows(0), 96)], objective(1e-2))


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


def test_old_checkpoints_go_and_half_a_save_is_none(folder: Path) -> None:
    policy, states = learner(folder), folder / "states"
    assert checkpoint.resume(policy, states) == 0
    for number in (1, 2, 3):
        checkpoint.save(policy, states, number)
    assert [path.name for path in sorted(states.iterdir())] == ["000002", "000003"]  # learner.checkpoints is 2
    (states / "000004").mkdir()  # a save that was killed before its mark
    assert checkpoint.resume(policy, states) == 3


def test_a_flipped_bit_is_found_and_the_checkpoint_before_it_taken(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy, states = learner(folder), folder / "states"
    checkpoint.save(policy, states, 1)
    checkpoint.save(policy, states, 2)
    for number, resumed in ((2, 1), (1, None)):
        (file,) = (states / f"{number:06d}").glob("*.safetensors")
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        if resumed:
            assert checkpoint.resume(policy, states) == resumed
            assert "000002 is not what was written (state-00000.safetensors)" in caplog.text
        else:
            with pytest.raises(InfrastructureError, match=r"No checkpoint in .* is what was written"):
                checkpoint.resume(policy, states)


def test_an_unreadable_mark_is_passed_over(folder: Path) -> None:
    policy, states = learner(folder), folder / "states"
    checkpoint.save(policy, states, 1)
    checkpoint.save(policy, states, 2)
    (states / "000002" / "step.json").write_text("")
    assert checkpoint.resume(policy, states) == 1


def test_the_state_of_another_policy_is_refused(folder: Path) -> None:
    checkpoint.save(learner(folder), folder / "states", 1)
    lora = open_policy(folder / "model", lora={"rank": 2, "alpha": 4, "targets": ["q_proj"]})
    with pytest.raises(ValueError, match="holds the state of another policy"):
        checkpoint.resume(lora, folder / "states")


def test_a_state_is_safetensors_and_json_with_bytes_that_depend_on_values_alone(folder: Path) -> None:
    """No pickle to load, and a digest that means something."""
    first, second = learner(folder), learner(folder)
    for policy, name in ((first, "a"), (second, "b")):
        step(policy)
        checkpoint.save(policy, folder / name, 1)
    files = sorted(path.name for path in (folder / "a" / "000001").iterdir())
    assert files == ["optimizer.json", "state-00000.safetensors", "step.json"]
    assert all((folder / "a/000001" / f).read_bytes() == (folder / "b/000001" / f).read_bytes() for f in files)


def test_additions_to_embeddings_are_refused(folder: Path) -> None:
    """They may be tied to the output layer, whose additions nothing would use."""
    for target in ("embed_tokens", "lm_head"):
        with pytest.raises(UserError, match="cannot be targets"):
            open_policy(folder / "model", lora={"rank": 2, "alpha": 4, "targets": ["q_proj", target]})
