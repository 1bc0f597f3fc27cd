"""Say as text where two outputs first differ: the file, and in it the step, row, key or tensor."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from reforge.errors import UserError
from reforge.files.tensors import tensor_digests

_SHOWN = 3


def differences(expected: Path, found: Path) -> list[str]:
    """Return a line for each file that differs, those of early steps first; none where both, files or folders, hold the
    same bytes."""
    if expected.is_file() and found.is_file():
        return [] if _same(expected, found) else [f"{found.name}: {_where(expected, found)}"]
    names = sorted({_relative(path, root) for root in (expected, found) for path in root.rglob("*") if path.is_file()})
    lines = []
    for name in sorted(names, key=_step):
        one, other = expected / name, found / name
        if not one.is_file() or not other.is_file():
            lines.append(f"{name}: {'was not there before' if other.is_file() else 'is missing'}")
        elif not _same(one, other):
            lines.append(f"{name}: {_where(one, other)}")
    return lines


def few(words: Sequence[str], shown: int = _SHOWN) -> list[str]:
    """Return the first of `words`, and how many more there are."""
    return [*words[:shown], *([f"and {len(words) - shown} more"] if len(words) > shown else [])]


def _where(expected: Path, found: Path) -> str:
    how = _KINDS.get(expected.suffix, _bytes)
    try:
        return how(expected, found)
    except (ValueError, KeyError, OSError, UserError) as error:  # one of them is broken: no file of its kind
        return f"{_bytes(expected, found)} ({type(error).__name__}: {error})"


def _steps(expected: Path, found: Path) -> str:
    """Return where two files with a line for each step first differ."""
    pairs = zip_longest(expected.read_text().splitlines(), found.read_text().splitlines())
    for number, (one, other) in enumerate(pairs, 1):
        if one is None or other is None:
            return f"has {'more' if one is None else 'fewer'} lines, from line {number} on"
        if one != other:
            before, after = json.loads(one), json.loads(other)
            where = f"step {before['step']}" if "step" in before else f"line {number}"
            return f"{where}: {_keys(before, after)}"
    return "line endings"


def _json(expected: Path, found: Path) -> str:
    return _keys(json.loads(expected.read_text()), json.loads(found.read_text())) or "written in another way"


def _keys(before: Any, after: Any) -> str:
    changed = [f"{key} was {_short(one)} and is {_short(other)}" for key, one, other in _changed(before, after)]
    return ", ".join(few(changed))


def _changed(before: Any, after: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _changed(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    elif before != after:
        yield key or "it", before, after


def _rows(expected: Path, found: Path) -> str:
    """Return where two Parquet files first differ. The row is named by its problem and index where it has them."""
    from reforge.files.parquet import read_table

    one, other = read_table(expected), read_table(found)
    if one.column_names != other.column_names:
        return f"has the columns {', '.join(other.column_names)}, not {', '.join(one.column_names)}"
    if one.num_rows != other.num_rows:
        return f"has {other.num_rows} rows, not {one.num_rows}"
    columns = [name for name in one.column_names if not one.column(name).equals(other.column(name))]
    for row in range(one.num_rows) if columns else ():
        before, after = one.slice(row, 1).to_pylist()[0], other.slice(row, 1).to_pylist()[0]
        for name in columns:
            if before[name] != after[name]:
                of = f"{before['problem_id']}/{before['index']}" if {"problem_id", "index"} <= before.keys() else row
                return f"{name} of row {of} was {_first(before[name], after[name])}"
    return "written in another way"


def _first(before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list):
        for place, (one, other) in enumerate(zip_longest(before, after)):
            if one != other:
                return f"{_short(one)} and is {_short(other)}, at place {place}"
    return f"{_short(before)} and is {_short(after)}"


def _tensors(expected: Path, found: Path) -> str:
    one, other = (tensor_digests(path.parent) for path in (expected, found))
    changed = [name for name in one if one[name] != other.get(name)] + [name for name in other if name not in one]
    if not changed:
        return "written in another way"
    return f"{len(changed)} of {len(one)} tensors differ: {', '.join(few(changed))}"


def _bytes(expected: Path, found: Path) -> str:
    one, other = expected.read_bytes(), found.read_bytes()
    place = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"byte {place} (line {one[:place].count(10) + 1})"


_KINDS: dict[str, Callable[[Path, Path], str]] = {
    ".jsonl": _steps, ".json": _json, ".parquet": _rows, ".safetensors": _tensors,
}  # fmt: skip


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _step(name: str) -> tuple[int, str]:
    """Return the step that a file is of, to sort by; a file of all steps comes after those."""
    found = re.search(r"step-(\d+)", name)
    return int(found[1]) if found else 10**9, name


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
