"""The learner's state as safetensors: float32 weights, the optimiser's moments and its step count, each tensor whole.

This is not DeepSpeed's own checkpoint: that one is pickled, tied to the number of ranks and the ZeRO stage, and needs a
conversion ("universal checkpoint") for different ones. Here any number of ranks and any stage reads what any other
wrote, the bytes depend on the values alone, and loading runs no code. Ranks gather one tensor at a time; rank 0 writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import distributed

_MOMENTS = ("exp_avg", "exp_avg_sq")
_PIECE = 2**31  # bytes gathered before they are written
_STEPS = "optimizer.json"


def write_state(engine: Any, folder: Path) -> None:
    """Write the state to `folder`. Call this on every rank. Only trained parameters are written: those of a frozen base
    do not change."""
    piece: dict[str, torch.Tensor] = {}
    number = 0
    leads = engine.global_rank == 0
    for key, tensor in _whole(engine):
        if not leads:
            continue
        piece[key] = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
        if sum(tensor.nbytes for tensor in piece.values()) >= _PIECE:
            save_file(piece, folder / f"state-{number:05d}.safetensors")
            piece, number = {}, number + 1
    if leads:
        if piece:
            save_file(piece, folder / f"state-{number:05d}.safetensors")
        (folder / _STEPS).write_text(json.dumps({"steps": _steps(engine)}))


def read_state(engine: Any, folder: Path) -> None:
    """Read the state in `folder`. Call this on every rank, each of which reads the files. Raises ValueError for
    parameters that are not those of the engine's model."""
    steps = int(json.loads((folder / _STEPS).read_text())["steps"])
    files: list[Any] = [safe_open(path, "pt") for path in sorted(folder.glob("state-*.safetensors"))]
    place = {key: file for file in files for key in file.keys()}  # noqa: SIM118 (no mapping)
    wanted = {f"{kind}/{name}" for name, _ in _trained(engine) for kind in ("weight", *_MOMENTS)}
    if wanted != place.keys():
        raise ValueError(f"{folder} holds the state of another policy: {min(wanted ^ place.keys())} is in one only")
    if _partitioned(engine) and steps:
        _make_moments(engine, steps)
    for name, parameter in _trained(engine):
        values = {kind: place[f"{kind}/{name}"].get_tensor(f"{kind}/{name}") for kind in ("weight", *_MOMENTS)}
        if values["weight"].shape != getattr(parameter, "ds_shape", parameter.shape):
            raise ValueError(f"{folder} holds {name} in the shape {tuple(values['weight'].shape)}")
        _set(engine, parameter, {kind: value.to(engine.device) for kind, value in values.items()}, steps)


def _make_moments(engine: Any, steps: int) -> None:
    """Make the moments of partitions, which have none before their first step."""
    optimizer = engine.optimizer
    groups = [tensor for group in optimizer.optimizer.param_groups for tensor in group["params"]]
    for flat in getattr(optimizer, "fp32_partitioned_groups_flat", groups):
        moments = {kind: torch.zeros_like(flat) for kind in _MOMENTS}
        optimizer.optimizer.state[flat] = {"step": torch.tensor(float(steps)), **moments}
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._lazy_init_hp_params_optimizer_state()


def _whole(engine: Any) -> Iterator[tuple[str, torch.Tensor]]:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    steps = _steps(engine)
    for name, parameter in _trained(engine):
        weight = safe_get_full_fp32_param(parameter) if _partitioned(engine) else parameter
        yield f"weight/{name}", weight
        for kind in _MOMENTS:
            if not steps:
                yield f"{kind}/{name}", torch.zeros_like(weight)
            elif _partitioned(engine):
                yield f"{kind}/{name}", safe_get_full_optimizer_state(parameter, kind)
            else:
                yield f"{kind}/{name}", engine.optimizer.state[parameter][kind]


def _set(engine: Any, parameter: Any, values: dict[str, torch.Tensor], steps: int) -> None:
    import deepspeed
    from deepspeed.utils import (
        safe_set_full_fp32_param,
        safe_set_full_optimizer_state,
        safe_set_local_fp32_param,
        safe_set_local_optimizer_state,
    )

    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
        parameter.data.copy_(values["weight"])
    if hasattr(parameter, "ds_id"):  # ZeRO-3; DeepSpeed's setters of whole tensors fail where ranks do not divide them
        safe_set_local_fp32_param(parameter, _own_part(parameter, values["weight"]))
        for kind in _MOMENTS if steps else ():
            safe_set_local_optimizer_state(parameter, _own_part(parameter, values[kind]), kind)
    elif _partitioned(engine):
        safe_set_full_fp32_param(parameter, values["weight"])
        for kind in _MOMENTS if steps else ():
            safe_set_full_optimizer_state(parameter, values[kind], kind)
    elif steps:
        moments = {kind: values[kind] for kind in _MOMENTS}
        engine.optimizer.state[parameter] = {"step": torch.tensor(float(steps)), **moments}


def _own_part(parameter: Any, whole: torch.Tensor) -> torch.Tensor:
    """Return this rank's partition: all have one size, the last ones are filled up with zeros."""
    size, ranks = parameter.ds_tensor.numel(), distributed.get_world_size()
    padded = torch.nn.functional.pad(whole.flatten(), (0, size * ranks - whole.numel()))
    return padded[distributed.get_rank() * size :][:size]


def _steps(engine: Any) -> int:
    optimizer = engine.optimizer.optimizer if _partitioned(engine) else engine.optimizer
    return max((int(state["step"]) for state in optimizer.state.values() if "step" in state), default=0)


def _trained(engine: Any) -> Iterator[tuple[str, Any]]:
    return ((name, parameter) for name, parameter in engine.module.named_parameters() if parameter.requires_grad)


def _partitioned(engine: Any) -> bool:
    """Return whether DeepSpeed keeps float32 weights and moments apart from the parameters, and in parts."""
    return hasattr(engine.optimizer, "optimizer")
