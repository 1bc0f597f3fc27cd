"""Parquet that is there whole or not at all, and whose values carry checksums: a flipped bit is an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reforge.errors import UserError


def write_rows(
    path: Path,
    rows: Iterable[dict[str, Any]],
    schema: pa.Schema,
    piece: int,
    seen: Callable[[pa.Table], object] = lambda table: None,
) -> None:
    """Written beside, and moved into place once it is on the disk, so that a reader never sees half a file; `piece`
    rows at a time (each table shown to `seen`), as all of them may be more than memory has to spare. The bytes depend
    on the rows and the version of pyarrow alone."""
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


def read_table(path: Path, columns: list[str] | None = None, rows: Any = None) -> pa.Table:
    """`rows`: a filter as pyarrow's. Raises UserError where the file is missing or broken."""
    try:
        return pq.read_table(path, columns=columns, filters=rows, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{path} is missing or not a whole Parquet file ({said}). Fetch it as it was made (dvc checkout), or run "
            "the stage that makes it again."
        ) from error
