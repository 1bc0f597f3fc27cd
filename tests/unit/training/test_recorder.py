import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from reforge.rollouts.digests import read_digests
from reforge.training.recorder import Recorder
from tests.unit.training.test_credit import group

GROUPS = [group((1.0, "stop"), (0.0, "stop"), (1.0, "stop"), (0.0, "length"))]
ADVANTAGES = [[1.0, -1.0, 0.5, None]]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file({"head": torch.ones(3), "tail": torch.zeros(2)}, folder / "model.safetensors")
    return folder


def test_a_step_is_on_the_disk_with_its_digests(tmp_path: Path, weights: Path) -> None:
    told: list[object] = []
    recorder = Recorder(tmp_path / "r", lambda *what: told.append(what))
    recorder.begin(7, GROUPS, ADVANTAGES, weights)
    recorder.settle()
    rows = pq.read_table(tmp_path / "r" / "step-00007.parquet").to_pylist()
    assert [row["advantage"] for row in rows] == [1.0, -1.0, 0.5, None]
    record = read_digests(tmp_path / "r" / "step-00007.json")
    assert (record.step, len(record.rollouts), list(record.tensors)) == (7, 4, ["head", "tail"])
    assert told == []


def test_a_step_that_is_computed_again_is_compared_and_what_differs_is_named(
    tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[int, list[str]]] = []
    before = Recorder(tmp_path / "r", lambda *what: None)
    before.begin(7, GROUPS, ADVANTAGES, weights)
    before.settle()
    again = Recorder(tmp_path / "r", lambda *what: told.append(what))
    again.begin(7, GROUPS, ADVANTAGES, weights)
    save = {"head": torch.ones(3), "tail": torch.tensor([0.0, 1e-30])}
    again.settle()
    assert told == [(7, [])]
    save_file(save, weights / "model.safetensors")
    again.begin(7, GROUPS, [[1.0, -1.0, 0.5, 0.0]], weights)
    again.settle()
    assert told[1] == (7, ["advantage of rollout p/3", "tensor tail"])
    assert "Step 7, computed again after the interruption, is not what it was" in caplog.text
    (tmp_path / "r" / "step-00007.json").write_text("")  # a power cut
    again.begin(7, GROUPS, ADVANTAGES, weights)
    again.settle()
    assert len(told) == 2
    assert "cannot be compared" in caplog.text


def test_training_goes_on_while_a_step_is_written_and_waits_when_it_must(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, settled = threading.Event(), threading.Event()
    monkeypatch.setattr("reforge.training.recorder.tensor_digests", lambda _: {} if may_end.wait(60) else None)
    recorder = Recorder(tmp_path / "r", lambda *what: None)
    recorder.begin(1, GROUPS, ADVANTAGES, weights)  # returns, though it cannot end
    waiting = threading.Thread(target=lambda: (recorder.settle(), settled.set()))
    waiting.start()
    assert not settled.wait(0.2)
    may_end.set()
    assert settled.wait(60)
    assert (tmp_path / "r" / "step-00001.json").is_file()


def test_what_goes_wrong_in_writing_is_raised(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "r").write_text("a file in the way")
    recorder = Recorder(tmp_path / "r", lambda *what: None)
    recorder.begin(1, GROUPS, ADVANTAGES, weights)
    with pytest.raises(OSError, match="r"):
        recorder.settle()
