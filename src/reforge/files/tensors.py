"""Read safetensors files without torch: where each tensor lies in them, and digests of the values, however they are
written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Return where the data begin, and the entries of the tensors by name (the format: a length of 8 bytes, JSON, the
    data)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return 8 + length, header


def tensor_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each tensor's type, shape and values, by name. Equal weights have equal digests, whatever
    the files are called, how they are cut, and in which order their metadata were written (safetensors#584). Raises
    ValueError for a file that is cut short."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        start, header = read_header(path)
        with path.open("rb") as file:
            for name, entry in header.items():
                first, end = entry["data_offsets"]
                digest = hashlib.sha256(f"{entry['dtype']} {entry['shape']}\n".encode())
                file.seek(start + first)
                left = end - first
                while left:
                    piece = file.read(min(left, 1 << 24))
                    if not piece:
                        raise ValueError(f"{path} is cut short: {left} bytes of {name} are missing")
                    digest.update(piece)
                    left -= len(piece)
                found[name] = digest.hexdigest()
    return dict(sorted(found.items()))


def weight_digests(within: Iterable[Path]) -> dict[str, str]:
    """Return for each folder with weights one digest of their values: the files' digests may differ where the weights
    do not."""
    folders = sorted({file.parent for path in within for file in path.rglob("*.safetensors")})
    return {
        folder.as_posix(): hashlib.sha256(json.dumps(tensor_digests(folder)).encode()).hexdigest() for folder in folders
    }
