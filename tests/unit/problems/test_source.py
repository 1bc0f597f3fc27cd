"""A source is copied, checked against its pin, and read from the copy."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reforge.config import Problems
from reforge.errors import UserError
from reforge.problems.source import Row, snapshot, write_jsonl

ROWS = [{"a": 1}, {"a": 2}]
LINES = '{"a": 1}\n\n{"a": 2}\n'


def settings(path: Path | str, sha256: str = "", revision: str = "") -> Problems:
    return Problems(
        adapter="mbpp",
        path=str(path),
        revision=revision,
        sha256=sha256,
        difficulties=[],
        near=None,
        against=[],
        tests_per_problem=1,
        train=1,
        heldout=1,
    )


def test_jsonl_lines_keep_their_numbers_and_the_copy_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode())
    rows = snapshot(settings(path, hashlib.sha256(path.read_bytes()).hexdigest()), tmp_path / "raw")
    assert rows == [Row(1, {"a": 1}), Row(3, {"a": 2})]
    assert (tmp_path / "raw/rows.jsonl").read_bytes() == path.read_bytes()


def test_gzip_and_parquet(tmp_path: Path) -> None:
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(LINES.encode()))
    assert [row.value for row in snapshot(settings(packed), tmp_path / "raw")] == ROWS
    table = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), table)
    assert snapshot(settings(table), tmp_path / "raw") == [Row(1, {"a": 1}), Row(2, {"a": 2})]
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["rows.jsonl.gz", "rows.parquet"]


def test_a_file_that_changed_since_compose_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(LINES)
    with pytest.raises(UserError, match=r"changed since compose .* run reforge compose again"):
        snapshot(settings(path, sha256="0" * 64), tmp_path / "raw")


@pytest.mark.parametrize("bad", [b'{"a": 1', b'{"a": "\xff"}', b"[" * 100_000])
def test_a_malformed_line_is_named_with_its_file(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + bad + b"\n")
    with pytest.raises(UserError, match=r"rows\.jsonl, line 3: not valid JSON"):
        snapshot(settings(path), tmp_path / "raw")


def test_the_position_in_a_malformed_line_is_its_column(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": \n')
    with pytest.raises(UserError, match=r"line 1: not valid JSON \(Expecting value, column 6\)"):
        snapshot(settings(tmp_path / "rows.jsonl"), tmp_path / "raw")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-9], "not a whole gzip file"),
        ("rows.jsonl.gz", LINES.encode(), "not a whole gzip file"),
        ("rows.parquet", LINES.encode(), "cannot be read as Parquet"),
        ("rows.csv", b"a\n1\n", "is none of .jsonl, .jsonl.gz, .parquet"),
    ],
)
def test_a_file_of_another_kind_or_cut_short(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        snapshot(settings(tmp_path / name), tmp_path / "raw")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file .*none\.jsonl"):
        snapshot(settings(tmp_path / "none.jsonl"), tmp_path / "raw")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_datasets_library_gives_the_rows_of_all_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    for part, row in zip(("train", "test"), ROWS, strict=True):
        if suffix == ".jsonl":
            write_jsonl(folder / f"{part}.jsonl", [row])
        else:
            pq.write_table(pa.Table.from_pylist([row]), folder / f"{part}.parquet")
    assert snapshot(settings(folder), tmp_path / "raw") == [Row(1, {"a": 1}), Row(2, {"a": 2})]
    assert [json.loads(line) for line in (tmp_path / "raw/rows.jsonl").open()] == ROWS


def test_a_data_set_without_a_revision_or_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"problems\.revision is empty"):
        snapshot(settings("nobody/nothing"), tmp_path / "raw")
    with pytest.raises(UserError, match=r"cannot load 'nobody/nothing' .*HF_HUB_OFFLINE=0"):
        snapshot(settings("nobody/nothing", revision="0" * 40), tmp_path / "raw")
