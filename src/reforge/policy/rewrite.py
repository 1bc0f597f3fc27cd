"""Write new values into the files of a checkpoint that is there already. Memory that is taken anew, such as that of a
new file in /dev/shm, costs several times what filling it costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reforge.files.tensors import read_header

_TYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def rewrite(folder: Path, state: Mapping[str, torch.Tensor]) -> bool:
    """Fill each tensor of the safetensors files in `folder` with that of the same name in `state`. Return whether that
    was done: where a name, shape or type differs, nothing is changed."""
    files = {path: read_header(path) for path in folder.glob("*.safetensors")}
    entries = [(name, entry) for _, header in files.values() for name, entry in header.items()]
    if not entries or not all(name in state and _alike(state[name], entry) for name, entry in entries):
        return False
    for path, (start, header) in files.items():
        whole = torch.from_file(str(path), shared=True, size=path.stat().st_size, dtype=torch.uint8)
        for name, entry in header.items():
            first, end = (start + offset for offset in entry["data_offsets"])
            whole[first:end].view(_TYPES[entry["dtype"]]).copy_(state[name].detach().flatten())
    return True


def _alike(tensor: torch.Tensor, entry: Mapping[str, Any]) -> bool:
    return _TYPES.get(entry["dtype"]) == tensor.dtype and entry["shape"] == list(tensor.shape)
