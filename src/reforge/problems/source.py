"""Where rows come from: a local file, or a data set that the `datasets` library knows by name.

Rows are always read back from the snapshot, so what is kept under raw/ is what was used, byte for byte.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reforge.config import ProblemSource
from reforge.errors import UserError

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True)
class Row:
    """`line` counts from 1: lines of a text file, rows of a Parquet file or a `datasets` data set."""

    line: int
    value: Any


def snapshot(cfg: ProblemSource, folder: Path) -> list[Row]:
    """Copy the source that `cfg` names into `folder` and read its rows from there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(cfg.path).expanduser()
    if path.is_file():
        copy = folder / path.name
        shutil.copyfile(path, copy)
        _check_pin(copy, cfg)
        return list(_rows(copy, cfg.path))
    if cfg.path.endswith(_SUFFIXES):
        raise UserError(f"problems.path: there is no file {path}. Correct problems.path and compose again.")
    copy = folder / "rows.jsonl"
    write_jsonl(copy, _hub_rows(cfg.path, cfg.revision))
    return list(_rows(copy, cfg.path))


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True, default=str) + "\n")


def _check_pin(copy: Path, cfg: ProblemSource) -> None:
    with copy.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if cfg.sha256 not in ("", found):
        raise UserError(
            f"problems.path: {cfg.path} changed since compose (sha256 {found}, in params.yaml {cfg.sha256}). If the "
            "new content is meant, run reforge compose again; else bring the old file back."
        )


def _rows(path: Path, name: str) -> Iterator[Row]:
    """`name` is what the user calls the file."""
    if path.name.endswith(".parquet"):
        try:
            values = pq.read_table(path).to_pylist()
        except pa.ArrowException as error:
            raise UserError(f"{name} cannot be read as Parquet: {error}. Fetch it again.") from error
        yield from (Row(line, value) for line, value in enumerate(values, 1))
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_rows(path, name)
    else:
        raise UserError(f"problems.path: {name} is none of {', '.join(_SUFFIXES)}. Convert it, compose again.")


def _json_rows(path: Path, name: str) -> Iterator[Row]:
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        try:
            for line, raw in enumerate(file, 1):
                if raw.strip():
                    yield Row(line, _parsed(raw.rstrip(), name, line))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{name} is not a whole gzip file: {error}. Fetch it again.") from error


def _parsed(raw: bytes, name: str, line: int) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: not JSON, or not UTF-8
        why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(
            f"{name}, line {line}: not valid JSON ({why}). Each line must hold one object: mend or delete this one, "
            "then compose again."
        ) from error


def _hub_rows(name: str, revision: str) -> Iterator[Any]:
    """All splits of the data set, in their order. `revision` pins it: a branch name would move under our feet."""
    import datasets  # seconds to import, and only these lines need it

    if not revision and not Path(name).is_dir():
        raise UserError(
            f"problems.path: there is no file {name}, and for a `datasets` data set of that name problems.revision is "
            "empty. Give the commit of the data set as problems.revision=…, so that the same rows come back next time."
        )
    try:
        loaded = datasets.load_dataset(name, revision=revision or None)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"problems.path: `datasets` cannot load {name!r} at revision {revision!r}: {' '.join(str(error).split())}. "
            "Check both; Reforge stays offline unless HF_HUB_OFFLINE=0 is set, so a download needs that too."
        ) from error
    for part in loaded.values() if isinstance(loaded, dict) else [loaded]:
        yield from part
