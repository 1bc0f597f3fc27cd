import hashlib

import pytest
import torch
from safetensors.torch import save_file

from reforge.files.tensors import tensor_digests

STATE = {
    "a": torch.tensor([[1.0, 2.0]]),
    "b": torch.tensor([3, 4], dtype=torch.int32),
    "c": torch.tensor(0.5).bfloat16(),
}


def save(folder, *files, metadata=None):
    folder.mkdir()
    for number, names in enumerate(files):
        save_file({name: STATE[name] for name in names}, folder / f"part-{number}.safetensors", metadata=metadata)
    return folder


def test_by_hand(tmp_path):
    digests = tensor_digests(save(tmp_path / "one", "abc"))
    assert digests["a"] == hashlib.sha256(b"F32 [1, 2]\n\x00\x00\x80\x3f\x00\x00\x00\x40").hexdigest()
    assert list(digests) == ["a", "b", "c"]


def test_neither_cut_nor_order_nor_metadata_change_it(tmp_path):
    one = tensor_digests(save(tmp_path / "one", "abc"))
    other = tensor_digests(save(tmp_path / "other", "c", "ba", metadata={"x": "1", "y": "2", "z": "3"}))
    assert one == other


@pytest.mark.parametrize(("name", "other"), [
    ("a", torch.tensor([[1.0, 2.0000002]])), ("a", torch.tensor([1.0, 2.0])), ("b", torch.tensor([3, 4]).float()),
    ("c", torch.tensor(-0.5).bfloat16()),
])  # fmt: skip
def test_another_value_shape_or_type_does(tmp_path, monkeypatch, name, other):
    before = tensor_digests(save(tmp_path / "before", "abc"))
    monkeypatch.setitem(STATE, name, other)
    after = tensor_digests(save(tmp_path / "after", "abc"))
    assert {key for key in before if before[key] != after[key]} == {name}


def test_a_file_that_is_cut_short_is_no_digest(tmp_path):
    (path,) = save(tmp_path / "cut", "abc").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        tensor_digests(path.parent)
