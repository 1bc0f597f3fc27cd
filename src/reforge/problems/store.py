"""Problems on disk, as Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from reforge.errors import UserError
from reforge.files.parquet import read_table, write_rows
from reforge.machine.project import command
from reforge.problems.funnel import Entry, Quarantined
from reforge.records import Checker, Problem, TestCase

_FILE = pa.struct([("name", pa.string()), ("text", pa.string())])
_CHECKER = pa.struct([("rule", pa.string()), ("tolerance", pa.float64()), ("source", pa.string())])
_TEST = pa.struct([("kind", pa.string()), ("input", pa.string()), ("expected", pa.string())])
PROBLEMS = pa.schema(
    [
        ("id", pa.string()),
        ("statement", pa.string()),
        ("solution", pa.string()),
        ("tests", pa.list_(_TEST)),
        ("entry_point", pa.string()),
        ("setup", pa.string()),
        ("thinking", pa.string()),
        ("difficulty", pa.int32()),
        ("family", pa.string()),
        ("files", pa.list_(_FILE)),
        ("checker", _CHECKER),
        ("alternatives", pa.list_(pa.string())),
        ("date", pa.string()),
        ("several_answers", pa.bool_()),
    ]
)
QUARANTINED = pa.schema([("id", pa.string()), ("reason", pa.string()), ("source", pa.string()), ("line", pa.int64())])
ORIGINS = pa.schema([("id", pa.string()), ("source", pa.string()), ("line", pa.int64())])
_PIECE = 256  # rows that are turned into a table at a time


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    write_rows(path, map(_row, problems), PROBLEMS, _PIECE)


def read_problems(path: Path) -> list[Problem]:
    return [_problem(row) for row in _read(path, PROBLEMS).to_pylist()]


def _row(problem: Problem) -> dict[str, Any]:
    return {**asdict(problem), "files": [{"name": name, "text": text} for name, text in problem.files]}


def _problem(row: dict[str, Any]) -> Problem:
    records = {
        "tests": tuple(TestCase(**test) for test in row["tests"]),
        "files": tuple((file["name"], file["text"]) for file in row["files"]),
        "checker": Checker(**row["checker"]),
        "alternatives": tuple(row["alternatives"]),
    }
    return Problem(**{**row, **records})


def write_quarantined(path: Path, quarantined: Sequence[Quarantined]) -> None:
    write_rows(path, map(asdict, quarantined), QUARANTINED, _PIECE)


def read_quarantined(path: Path) -> list[Quarantined]:
    return [Quarantined(**row) for row in _read(path, QUARANTINED).to_pylist()]


def write_origins(path: Path, kept: Iterable[Entry]) -> None:
    rows = ({"id": entry.problem.id, "source": entry.source, "line": entry.line} for entry in kept)
    write_rows(path, rows, ORIGINS, _PIECE)


def fate_of(folders: Sequence[Path], id: str) -> list[str]:
    """Return what became of a problem, named by its id, its line or SOURCE:LINE, in a line of text for each that fits;
    of several sets each line says which."""
    said = [
        (f"{folder.parent.name}: " if len(folders) > 1 else "") + line
        for folder in folders
        for line in _fates(folder, id)
    ]
    if not said:
        raise UserError(f"{id!r} is in no source, by its id, its line or SOURCE:LINE.")
    return said


def _fates(folder: Path, id: str) -> list[str]:
    if not (folder / "quarantined.parquet").is_file():
        raise UserError(f"{folder} holds no curated problems. Make them with: {command('dvc repro curate')}")
    fates = dict[str, str]()
    for side, words in (("train", "kept for training"), ("heldout", "held out for evaluation")):
        fates |= dict.fromkeys(_read(folder / f"{side}.parquet", PROBLEMS).column("id").to_pylist(), words)
    surplus = "left over: more than curate.*.train and curate.*.heldout ask for"
    rows = [
        *_read(folder / "quarantined.parquet", QUARANTINED).to_pylist(),
        *({**row, "reason": ""} for row in _read(folder / "origins.parquet", ORIGINS).to_pylist()),
    ]
    return [
        f"{row['id'] or '(no id)'} ({row['source']}, line {row['line']}): "
        + (f"left out. {row['reason']}" if row["reason"] else fates.get(row["id"], surplus))
        for row in rows
        if id in (row["id"], str(row["line"]), f"{row['source']}:{row['line']}")
    ]


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    table = read_table(path)
    if not table.schema.equals(schema):
        raise UserError(
            f"{path} was written by another version of Reforge: its columns are {', '.join(table.column_names)}. "
            f"Make it again with: {command('dvc repro -f curate')}"
        )
    return table
