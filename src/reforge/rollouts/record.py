"""What a step's rollouts and the weights after it were, in digests: so that a bit that has changed since is found, and
named by rollout and field, or by tensor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

_FIELD, _TENSOR = 8, 16  # hexadecimal digits kept


@dataclass(frozen=True)
class Record:
    """`rollouts`: problem and index → a digest of each of `fields`. `tensors`: of the weights that the step left."""

    step: int
    fields: list[str]
    rollouts: dict[str, list[str]]
    tensors: dict[str, str]

    def changed(self, table: pa.Table) -> list[str]:
        """What of the rollouts in `table` is not what was recorded, in words."""
        found = dict(_digests(table))
        lost = [f"rollout {name} is missing" for name in self.rollouts if name not in found]
        more = [f"rollout {name} was not there" for name in found if name not in self.rollouts]
        columns = {field: place for place, field in enumerate(table.column_names)}
        return lost + more + [
            f"{field} of rollout {name}"
            for name, digests in self.rollouts.items()
            if name in found
            for field, digest in zip(self.fields, digests, strict=True)
            if field not in columns or found[name][columns[field]] != digest
        ]  # fmt: skip

    def other_tensors(self, digests: Mapping[str, str]) -> list[str]:
        """Those that are not the recorded ones; `digests` as of `reforge.tensors`."""
        now = {name: digest[:_TENSOR] for name, digest in digests.items()}
        return sorted(name for name in now.keys() | self.tensors.keys() if now.get(name) != self.tensors.get(name))


def record_of(step: int, table: pa.Table, tensors: Mapping[str, str]) -> Record:
    shortened = {name: digest[:_TENSOR] for name, digest in tensors.items()}
    return Record(step, table.column_names, dict(_digests(table)), shortened)


def write_record(path: Path, record: Record) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record), separators=(",", ":")))
    partial.replace(path)


def read_record(path: Path) -> Record:
    return Record(**json.loads(path.read_text()))


def _digests(table: pa.Table) -> Iterator[tuple[str, list[str]]]:
    table = table.combine_chunks()
    columns = [list(_values(table.column(name))) for name in table.column_names]
    problems, indices = table.column("problem_id").to_pylist(), table.column("index").to_pylist()
    for row, (problem, index) in enumerate(zip(problems, indices, strict=True)):
        yield f"{problem}/{index}", [hashlib.sha256(column[row]).hexdigest()[:_FIELD] for column in columns]


def _values(column: pa.ChunkedArray) -> Iterator[bytes]:
    """Of each row. Lists are not turned into Python's, of which there would be millions."""
    for chunk in column.chunks:
        if pa.types.is_list(chunk.type):
            numbers, offsets = chunk.values.to_numpy(), chunk.offsets.to_numpy()
            yield from (numbers[first:end].tobytes() for first, end in pairwise(offsets))
        else:
            yield from (_bytes(value) for value in chunk.to_pylist())


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else repr(value).encode()
