"""Parquet files that are there whole or not at all, and whose values carry checksums: a flipped bit is an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reforge.errors import UserError
from reforge.machine.project import command


def write_rows(
    path: Path,
    rows: Iterable[dict[str, Any]],
    schema: pa.Schema,
    piece: int,
    seen: Callable[[pa.Table], object] = lambda table: None,
) -> None:
    """Write `rows` to a file beside `path`, and move it into place once it is on the disk, so that a reader never sees
    half a file. `piece` rows are written at a time (each table is shown to `seen`), as all of them may be more than
    memory has to spare. The bytes depend on the rows and the version of pyarrow alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, left = path.with_suffix(".partial"), iter(rows)
    with pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True) as writer:
        while some := list(islice(left, piece)):
            table = pa.Table.from_pylist(some, schema=schema)
            writer.write_table(table)
            seen(table)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def read_table(path: Path, columns: list[str] | None = None, rows: Sequence[tuple[str, str, Any]] = ()) -> pa.Table:
    """Return a table with these `columns` (None: all). `rows`: a filter in pyarrow's form, a sequence of (column,
    operator, value). Raises UserError where the file is missing or broken. It is read in one thread, without pyarrow's
    data sets: those have read a broken file without an error (25.0; rarely)."""
    try:
        wanted = None if columns is None else [*columns, *(column for column, *_ in rows)]
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(wanted, use_threads=False)
        table = table.filter(pq.filters_to_expression(rows)) if rows else table
        return table if columns is None else table.select(columns)
    except (OSError, KeyError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{path} is missing or not a whole Parquet file with the columns that it should have ({said}). Run the "
            f"stage that makes it, or fetch it as it was made, with: {command('dvc checkout')}"
        ) from error
