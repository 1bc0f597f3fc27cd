import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from reforge.lineage.compare import differences


@pytest.fixture
def two(tmp_path):
    """Two equal outputs."""
    for name in ("expected", "found"):
        root = tmp_path / name
        (root / "rollouts").mkdir(parents=True)
        (root / "model").mkdir()
        lines = [{"step": step, "loss": 1.0 / step, "reward": 0.5} for step in (1, 2, 3)]
        (root / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (root / "scores.json").write_text(json.dumps({"limits": {"32k": {"pass@1": 0.5}}}))
        (root / "note.txt").write_text("one\ntwo\nthree\n")
        save_file({"embed": torch.zeros(3), "head": torch.ones(2)}, root / "model" / "model.safetensors")
        for step in (1, 2):
            rows = [{"problem_id": "p", "index": i, "token_ids": [1, 2, 3 + i], "reward": 1.0} for i in range(3)]
            pq.write_table(pa.Table.from_pylist(rows), root / "rollouts" / f"step-{step:05d}.parquet")
    return tmp_path / "expected", tmp_path / "found"


def test_equal_outputs_do_not_differ(two) -> None:
    assert differences(*two) == []
    assert differences(two[0] / "note.txt", two[1] / "note.txt") == []


def write(path, text):
    path.write_text(text)


def edit(path, old, new):
    write(path, path.read_text().replace(old, new, 1))


def save_other_head(root):
    state = {"embed": torch.zeros(3), "head": torch.tensor([1.0, 1.0000001])}
    save_file(state, root / "model" / "model.safetensors")


@pytest.mark.parametrize(("change", "said"), [
    (lambda root: edit(root / "metrics.jsonl", '"loss": 0.5', '"loss": 0.25'),
     "metrics.jsonl: step 2: loss was 0.5 and is 0.25"),
    (lambda root: write(root / "metrics.jsonl", "".join((root / "metrics.jsonl").read_text().splitlines(True)[:2])),
     "metrics.jsonl: has fewer lines, from line 3 on"),
    (lambda root: write(root / "scores.json", json.dumps({"limits": {"32k": {"pass@1": 0.75}}})),
     "scores.json: limits.32k.pass@1 was 0.5 and is 0.75"),
    (lambda root: write(root / "scores.json", "{"), "scores.json: byte 1 (line 1) (JSONDecodeError: "),
    (lambda root: write(root / "note.txt", "one\ntwO\nthree\n"), "note.txt: byte 6 (line 2)"),
    (lambda root: (root / "note.txt").unlink(), "note.txt: is missing"),
    (lambda root: write(root / "more.txt", ""), "more.txt: was not there before"),
    (save_other_head, "model/model.safetensors: 1 of 2 tensors differ: head"),
])  # fmt: skip
def test_where_it_differs_is_said(two, change, said) -> None:
    change(two[1])
    (line,) = differences(*two)
    assert line.startswith(said)


def test_the_first_step_comes_first_and_names_the_row_and_the_place(two) -> None:
    for step in (2, 1):
        path = two[1] / "rollouts" / f"step-{step:05d}.parquet"
        rows = pq.read_table(path).to_pylist()
        rows[2]["token_ids"][1] = 9
        pq.write_table(pa.Table.from_pylist(rows), path)
    (two[1] / "note.txt").write_text("")
    lines = differences(*two)
    assert lines[0] == "rollouts/step-00001.parquet: token_ids of row p/2 was 2 and is 9, at place 1"
    assert [line.partition(":")[0] for line in lines[1:]] == ["rollouts/step-00002.parquet", "note.txt"]
