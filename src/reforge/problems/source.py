"""Read the rows of a source: a local file, or a data set that the `datasets` library knows by name.

Rows are always read back from the snapshot, so what is kept under raw/ is what was used, byte for byte.
"""

from __future__ import annotations

import gzip
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reforge.config.problems import PassRates, ProblemSource
from reforge.errors import UserError
from reforge.files.digests import sha256
from reforge.machine.project import command

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_BATCH = 256  # rows of a Parquet file in memory at a time


@dataclass(frozen=True)
class Row:
    """A row of a source. `line` counts from 1: lines of a text file, rows of a Parquet file or a `datasets` data set.
    `broken`: why there is no value; empty where there is one."""

    line: int
    value: Any
    broken: str = ""


def snapshot(cfg: ProblemSource, folder: Path) -> Iterator[Row]:
    """Copy the source that `cfg` names into `folder` and read its rows from there, one after the other. What cannot be
    read comes as a broken row; of a file that is cut short, that is the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(cfg.path).expanduser()
    if path.is_file():
        copy = folder / path.name
        shutil.copyfile(path, copy)
        check_pin(copy, cfg)
    elif cfg.path.endswith(_SUFFIXES):
        raise UserError(f"There is no file {path}. Correct its path in curate.*.sources and compose again.")
    else:
        copy = folder / "rows.jsonl"
        write_jsonl(copy, _hub_rows(cfg.path, cfg.revision))
    return _rows(copy, cfg.path)


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True, default=str) + "\n")


def check_pin(path: Path, named: ProblemSource | PassRates) -> None:
    """Raise UserError where this file, or copy of one, is not what `reforge compose` saw."""
    found = sha256(path)
    if named.sha256 not in ("", found):
        raise UserError(
            f"{named.path} changed since compose (sha256 {found}, in params.yaml {named.sha256}). If the new content "
            f"is meant, compose again (`{command('reforge compose')} …`, as before); else bring the old file back."
        )


def _rows(path: Path, name: str) -> Iterator[Row]:
    """Return the rows of a file, read by its ending. `name` is what the user calls the file."""
    if path.name.endswith(".parquet"):
        return _parquet_rows(path)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _json_rows(path)
    raise UserError(f"{name} is none of {', '.join(_SUFFIXES)}. Convert it, correct its path and compose again.")


def _parquet_rows(path: Path) -> Iterator[Row]:
    line = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                for column in batch.columns:
                    column.validate(full=True)  # this finds text that is not UTF-8
                for value in batch.to_pylist():
                    line += 1
                    yield Row(line, value)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Row(line + 1, None, f"unreadable: not Parquet from row {line + 1} on, {_one_line(error)}")


def _json_rows(path: Path) -> Iterator[Row]:
    line = 0
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        try:
            for line, raw in enumerate(file, 1):
                if raw.strip():
                    yield _parsed(raw.rstrip(), line)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            yield Row(line + 1, None, f"unreadable: not a whole gzip file, from line {line + 1} on: {error}")


def _parsed(raw: bytes, line: int) -> Row:
    try:
        return Row(line, json.loads(raw.decode("utf-8-sig" if line == 1 else "utf-8")))
    except UnicodeDecodeError as error:
        return Row(line, None, f"not UTF-8: byte {error.start + 1}, {error.reason}")
    except (ValueError, RecursionError) as error:
        why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return Row(line, None, f"not JSON: {why}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _hub_rows(name: str, revision: str) -> Iterator[Any]:
    """Yield the rows of all splits of the data set, in their order. `revision` pins it: a branch name would move under
    our feet."""
    import datasets  # seconds to import, and only these lines need it

    if not revision and not Path(name).is_dir():
        raise UserError(
            f"There is no file {name}, and for a `datasets` data set of that name its revision is empty. Give the "
            "commit of the data set as revision=…, so that the same rows come back next time."
        )
    try:
        for part in datasets.load_dataset(name, revision=revision or None, streaming=True).values():
            yield from part
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"`datasets` cannot load {name!r} at revision {revision!r}: {_one_line(error)}. "
            "Check both; Reforge stays offline unless HF_HUB_OFFLINE=0 is set, so a download needs that too."
        ) from error
