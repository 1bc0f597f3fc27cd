import pytest
import torch
from safetensors.torch import load_file, save_file

from reforge.policy.rewrite import rewrite


@pytest.fixture
def folder(tmp_path):
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5, dtype=torch.bfloat16)}, tmp_path / "one.safetensors")
    save_file({"c": torch.zeros(())}, tmp_path / "two.safetensors", metadata={"format": "pt"})
    return tmp_path


def state():
    return {
        "a": torch.arange(6.0).view(3, 2).T,  # not contiguous
        "b": torch.arange(5.0).bfloat16(),
        "c": torch.tensor(7.0),
        "tied to a": torch.zeros(2, 3),
    }


def test_what_is_read_is_what_was_given_and_the_files_are_the_same_ones(folder) -> None:
    nodes = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert rewrite(folder, state())
    found = load_file(folder / "one.safetensors") | load_file(folder / "two.safetensors")
    assert set(found) == {"a", "b", "c"}
    assert all(torch.equal(found[name], state()[name]) for name in found)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == nodes


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.ones(3, 2)},
        {"a": torch.ones(2, 3, dtype=torch.float16)},
        {"c": torch.ones(1)},
        {"b": None},
    ],
)
def test_another_model_changes_nothing(folder, other) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    given = {name: value for name, value in (state() | other).items() if value is not None}
    assert not rewrite(folder, given)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_empty_folder_is_not_a_checkpoint(tmp_path) -> None:
    assert not rewrite(tmp_path, state())
