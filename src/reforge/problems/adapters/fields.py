"""The fields of a raw row, each checked before anything is made of it."""

from __future__ import annotations

import ast
import hashlib
import json
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


class UnusableRow(Exception):
    """The error of a row of a source that cannot be made a problem. It quarantines the row; its message begins with the
    kind of reason."""


def parsed(source: str, what: str) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):  # old code warns of stray backslashes
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnusableRow(f"not Python: the {what} does not parse, {error}") from error


def text(row: Mapping[str, Any], key: str, empty: bool = False) -> str:
    """Return a text with line feeds alone, whatever system it was typed on. Raises UnusableRow where it is missing or
    not text, or blank where that is not allowed (`empty`)."""
    value = row.get(key)
    if value is None:
        raise UnusableRow(f"missing field: {key}")
    if not isinstance(value, str):
        raise UnusableRow(f"wrong type: {key} is not text but {type(value).__name__}")
    if not value.strip() and not empty:
        raise UnusableRow(f"empty field: {key}")
    return value.replace("\r\n", "\n").replace("\r", "\n")


def texts(row: Mapping[str, Any], key: str) -> list[str]:
    value = row.get(key)
    if value is None or value == []:
        raise UnusableRow(f"no tests: {key} is {'empty' if value == [] else 'missing'}")
    if not isinstance(value, list):
        raise UnusableRow(f"wrong type: {key} is not a list but {type(value).__name__}")
    return [text({key: item}, key) for item in value]


def number(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    if value is None:
        raise UnusableRow(f"missing field: {key}")
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnusableRow(f"wrong type: {key} is not a whole number but {type(value).__name__}")
    return value


def items(row: Mapping[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    if value is None:
        raise UnusableRow(f"missing field: {key}")
    if not isinstance(value, list):
        raise UnusableRow(f"wrong type: {key} is not a list but {type(value).__name__}")
    return value


def record(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = row.get(key)
    if value is None:
        raise UnusableRow(f"missing field: {key}")
    if not isinstance(value, Mapping):
        raise UnusableRow(f"wrong type: {key} is not an object but {type(value).__name__}")
    return value


def unpacked(row: Mapping[str, Any], key: str) -> Any:
    """Return what a field holds as JSON in a text, as many published sets do; or the value itself, as re-uploads have
    it."""
    value = row.get(key)
    if value is None or value == "":
        raise UnusableRow(f"missing field: {key}")
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UnusableRow(f"not JSON: {key}, {error}") from error


def day(row: Mapping[str, Any], key: str) -> str:
    """Return a date as YYYY-MM-DD; empty where the row has none. A number is seconds since 1970."""
    value = row.get(key)
    if value is None or value == "":
        return ""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).date().isoformat()
    try:
        return datetime.fromisoformat(str(value)).date().isoformat()
    except ValueError as error:
        raise UnusableRow(f"no date: {key} is {value!r}") from error


def level(row: Mapping[str, Any], key: str, names: tuple[str, ...]) -> int:
    """Return where a published grade of difficulty stands among `names`, from 1; 0 where the row has none of them."""
    grade = str(row.get(key) or "").lower()
    return names.index(grade) + 1 if grade in names else 0


def digest(said: str) -> str:
    """Return a name for a row of a set that numbers none: it tells rows apart and can be typed."""
    return hashlib.sha256(said.encode(errors="replace")).hexdigest()[:12]
