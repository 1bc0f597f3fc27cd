"""Digests of a step's rollouts and of the weights after it, so that a bit that has changed since is found, and named by
rollout and field, or by tensor.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from reforge.errors import UserError
from reforge.machine.project import command
from reforge.rollouts.store import SCHEMA

_FIELD, _TENSOR = 8, 16  # hexadecimal digits kept of the digest of a field and of a tensor


@dataclass(frozen=True)
class StepDigests:
    """The digests of one step. `rollouts`: name (see `named`) → a digest of each of `fields`. `tensors`: name → digest,
    of the weights that the step left."""

    step: int
    fields: list[str]
    rollouts: dict[str, list[str]]
    tensors: dict[str, str]

    def changed(self, now: StepDigests) -> list[str]:
        """Return the rollouts that differ in `now`, as messages."""
        lost = [f"rollout {name} is missing" for name in self.rollouts if name not in now.rollouts]
        more = [f"rollout {name} was not there" for name in now.rollouts if name not in self.rollouts]
        places = {field: place for place, field in enumerate(now.fields)}
        return lost + more + [
            f"{field} of rollout {name}"
            for name, digests in self.rollouts.items()
            if name in now.rollouts
            for field, digest in zip(self.fields, digests, strict=True)
            if field not in places or now.rollouts[name][places[field]] != digest
        ]  # fmt: skip

    def other_tensors(self, now: StepDigests) -> list[str]:
        names = now.tensors.keys() | self.tensors.keys()
        return sorted(name for name in names if now.tensors.get(name) != self.tensors.get(name))


def digests_of(step: int, rollouts: dict[str, list[str]], tensors: Mapping[str, str]) -> StepDigests:
    """Return the digests of a step, from `rollouts` as `rollout_digests` gives them and `tensors` as
    `reforge.files.tensors` does."""
    return StepDigests(step, SCHEMA.names, rollouts, {name: digest[:_TENSOR] for name, digest in tensors.items()})


def write_digests(path: Path, record: StepDigests) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w") as file:
        json.dump(asdict(record), file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_digests(path: Path) -> StepDigests:
    """Read what `write_digests` wrote. Raises UserError where it is missing or broken."""
    try:
        return StepDigests(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is missing or not what was written ({error}). Run the stage again, or fetch it as it was "
            f"recorded, with: {command('dvc checkout')}"
        ) from error


def rollout_digests(table: pa.Table) -> dict[str, list[str]]:
    """Return a digest for each field of SCHEMA, by problem, index and, after the first, turn."""
    table = table.combine_chunks()
    columns = [list(_values(table.column(name))) for name in SCHEMA.names]
    names = zip(*(table.column(name).to_pylist() for name in ("problem_id", "index", "turn")), strict=True)
    return {
        named(*name): [hashlib.sha256(column[row]).hexdigest()[:_FIELD] for column in columns]
        for row, name in enumerate(names)
    }


def named(problem_id: str, index: int, turn: int) -> str:
    """Return the name of a rollout: `problem/0` in the first turn of an attempt, `problem/0.1` in the second."""
    return f"{problem_id}/{index}" + (f".{turn}" if turn else "")


def _values(column: pa.ChunkedArray) -> Iterator[bytes]:
    """Yield each row's value as bytes. Lists are not turned into Python's, of which there would be millions."""
    for chunk in column.chunks:
        if pa.types.is_list(chunk.type):
            numbers, offsets = chunk.values.to_numpy(), chunk.offsets.to_numpy()
            yield from (numbers[first:end].tobytes() for first, end in pairwise(offsets))
        else:
            yield from (_bytes(value) for value in chunk.to_pylist())


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else repr(value).encode()
