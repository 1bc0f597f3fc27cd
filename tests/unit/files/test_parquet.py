"""A Parquet file that is broken is an error, wherever it broke."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from reforge.errors import UserError
from reforge.files.parquet import read_table, write_rows

SCHEMA = pa.schema([("id", pa.string()), ("tokens", pa.list_(pa.int32())), ("logprob", pa.float32())])
ZSTD = b"\x28\xb5\x2f\xfd"  # how each of its frames begins
ROWS = [{"id": f"p{n}", "tokens": list(range(n)), "logprob": -0.5 * n} for n in range(7)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.parquet", iter(ROWS), SCHEMA, piece=3)
    return tmp_path / "rows.parquet"


def test_rows_come_back_piece_by_piece_and_nothing_lies_beside(path: Path) -> None:
    assert read_table(path).to_pylist() == ROWS
    assert read_table(path, ["id"], [("logprob", "==", -1.0)]).to_pylist() == [{"id": "p2"}]
    assert [found.name for found in path.parent.iterdir()] == ["rows.parquet"]


def test_a_file_cut_anywhere_is_refused_by_its_name(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"rows\.parquet is missing or not a whole Parquet file"):
            read_table(path)


def test_a_flipped_bit_in_the_values_is_refused(path: Path) -> None:
    """In what zstd wrote, that is; the few bytes of a page's header have no checksum in this format."""
    whole = path.read_bytes()
    pages = [found.start() for found in re.finditer(re.escape(ZSTD), whole)]
    assert len(pages) > 6
    for place in (8 * start + bit for start in pages for bit in range(8 * 12)):
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"(?i)crc|checksum|corrupt"):
            read_table(path)
