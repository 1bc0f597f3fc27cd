"""JSON objects in files. A broken one is reported with what to do about it; each is written whole or not at all.

JSON has no numbers that are not finite. They are written as the strings "nan", "inf" and "-inf", never left out.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from reforge.errors import UserError


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Return the JSON object that a file holds. Raises UserError with `remedy`, what to do, where it holds none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}). {remedy}.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object. {remedy}.")
    return found


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write `values` whole or not at all; they are on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(_valid(values), file, indent=2, sort_keys=True, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def spelled(value: float) -> float | str:
    """Return a number as JSON may hold it; `number` reads it again."""
    return value if math.isfinite(value) else str(float(value))


def number(value: float | str) -> float:
    return float(value)


def _valid(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _valid(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(inner) for inner in value]
    return spelled(value) if isinstance(value, float) else value


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key: {"a": {"b": 1}} → {"a.b": 1}. Lists stay as they are."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
