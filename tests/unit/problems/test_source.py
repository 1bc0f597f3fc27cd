"""A source is copied, checked against its pin, and read from the copy."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reforge.config.problems import ProblemSource
from reforge.errors import UserError
from reforge.problems.source import Row, write_jsonl
from reforge.problems.source import snapshot as read

ROWS = [{"a": 1}, {"a": 2}]
LINES = '{"a": 1}\n\n{"a": 2}\n'


def settings(path: Path | str, sha256: str = "", revision: str = "") -> ProblemSource:
    return ProblemSource(adapter="mbpp", path=str(path), revision=revision, sha256=sha256)


def snapshot(source: ProblemSource, folder: Path) -> list[Row]:
    return list(read(source, folder))


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
    with pytest.raises(UserError, match=r"changed since compose .* compose again \(`.*reforge compose …`"):
        snapshot(settings(path, sha256="0" * 64), tmp_path / "raw")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"a": 1', "not JSON: Expecting ',' delimiter, column 8"),
        (b'{"a": "\xff"}', "not UTF-8: byte 8, invalid start byte"),
        (b"[" * 100_000, "not JSON: maximum recursion depth exceeded"),
        (b"9" * 5000, "not JSON: Exceeds the limit"),
    ],
)
def test_a_malformed_line_costs_that_line_alone(tmp_path: Path, bad: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + bad + b'\n{"a": 2}\n')
    first, broken, last = snapshot(settings(path), tmp_path / "raw")
    assert (first, last) == (Row(1, {"a": 1}), Row(4, {"a": 2}))
    assert (broken.line, broken.value) == (3, None)
    assert broken.broken.startswith(reason)


def test_a_file_that_is_cut_short_gives_what_it_has_and_says_where_it_ends(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"a": hashlib.sha256(b"%d" % n).hexdigest()}) + "\n" for n in range(1000))
    packed = gzip.compress(lines.encode(), mtime=0)
    (tmp_path / "rows.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    rows = snapshot(settings(tmp_path / "rows.jsonl.gz"), tmp_path / "raw")
    assert 100 < len(rows) < 900
    assert [row.broken for row in rows[:-1]] == [""] * (len(rows) - 1)
    assert rows[-1].broken.startswith(f"unreadable: not a whole gzip file, from line {len(rows)} on")
    assert rows[-1].line == len(rows)

    table = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), table)
    table.write_bytes(table.read_bytes()[:-20])
    (row,) = snapshot(settings(table), tmp_path / "raw")
    assert (row.line, row.broken.partition(",")[0]) == (1, "unreadable: not Parquet from row 1 on")


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.parquet"])
def test_a_file_of_another_kind_is_one_broken_row(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(LINES)
    (row,) = snapshot(settings(tmp_path / name), tmp_path / "raw")
    assert row.broken.startswith("unreadable: not ")


def test_a_suffix_that_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(UserError, match=r"rows\.csv is none of \.jsonl, \.jsonl\.gz, \.parquet"):
        snapshot(settings(tmp_path / "rows.csv"), tmp_path / "raw")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no file .*none\.jsonl"):
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
    with pytest.raises(UserError, match=r"its revision is empty"):
        snapshot(settings("nobody/nothing"), tmp_path / "raw")
    with pytest.raises(UserError, match=r"cannot load 'nobody/nothing' .*HF_HUB_OFFLINE=0"):
        snapshot(settings("nobody/nothing", revision="0" * 40), tmp_path / "raw")
