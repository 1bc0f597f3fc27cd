"""The files of finished stages → the records of a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reforge.errors import UserError
from reforge.files.jsonfile import number
from reforge.files.parquet import read_table
from reforge.machine.project import command
from reforge.records import Problem
from reforge.reports.records import Example, RungCurve

COLUMNS = ["problem_id", "index", "turn", "token_ids", "finish_reason", "text", "status", "reason", "solved"]


def read_curve(folder: Path, name: str, max_tokens: int) -> RungCurve:
    path = folder / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        steps = tuple({key: number(value) for key, value in line.items()} for line in lines)
    except (OSError, ValueError) as error:
        again = command(f"dvc repro -f rl@{name}")
        raise UserError(f"{path} cannot be read ({error}). Make it again with: {again}") from error
    return RungCurve(name, max_tokens, steps)


def funnel_rows(funnel: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield a row for each table of counts, however deep it lies: ("difficulties, train", "1: 750 · 2: 750")."""
    for key, value in funnel.items():
        name = f"{above}, {key}" if above else key
        if not isinstance(value, Mapping):
            yield name, _number(value)
        elif any(isinstance(inner, Mapping) for inner in value.values()):
            yield from funnel_rows(value, name)
        elif value:
            yield name, " · ".join(f"{word}: {_number(count)}" for word, count in value.items())


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def pick_examples(
    rollouts: Path, limit: str, problems: Mapping[str, Problem], each: int = 2
) -> tuple[tuple[str, tuple[Example, ...]], ...]:
    """Return the hardest solved, the easiest failed and the easiest truncated problems, `each` of a kind: the rules are
    fixed, so nobody picks."""
    table = read_table(rollouts, COLUMNS, [("limit", "==", limit)])
    rows = sorted(table.to_pylist(), key=lambda row: (row["problem_id"], row["index"], row["turn"]))
    last = {(row["problem_id"], row["index"]): row for row in rows}  # the last turn of each attempt
    examples = [_example(row, problems[row["problem_id"]]) for row in last.values()]
    examples.sort(key=lambda example: example.difficulty)  # stable: ids and indices keep their order within a level
    kinds = {
        "Solved": [e for e in reversed(examples) if e.solved],
        "Failed": [e for e in examples if e.solved is False and not e.truncated],
        "Truncated": [e for e in examples if e.truncated],
    }
    return tuple((heading, tuple(_distinct(found)[:each])) for heading, found in kinds.items())


def _example(row: Mapping[str, Any], problem: Problem) -> Example:
    return Example(
        problem_id=problem.id,
        difficulty=problem.difficulty,
        statement=problem.statement,
        completion=row["text"],
        tokens=len(row["token_ids"]),
        truncated=row["finish_reason"] == "length",
        status=row["status"] or "no verdict",
        solved=row["solved"],
        reason=row["reason"] or "",
    )


def _distinct(examples: list[Example]) -> list[Example]:
    return list({example.problem_id: example for example in reversed(examples)}.values())[::-1]


def digest(path: Path) -> str:
    """Return the digest that dvc.lock has for this file or folder: md5 of its bytes, or of the list of files' md5s."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = sorted(path.rglob("*"), key=lambda file: file.relative_to(path).as_posix())
    listing = [{"md5": digest(f), "relpath": f.relative_to(path).as_posix()} for f in files if f.is_file()]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"
