"""Low-rank additions (LoRA, Hu et al. 2021) through peft, and the weights of a policy as one whole state."""

from __future__ import annotations

from typing import Any

import torch

from reforge.config.policy import Lora
from reforge.errors import UserError


def add_lora(model: Any, config: Lora) -> None:
    """Freeze `model` and give each module that `config.targets` names two trained matrices, the second of them 0."""
    from peft import LoraConfig, inject_adapter_in_model

    try:
        inject_adapter_in_model(
            LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=config.targets), model
        )
    except ValueError as error:
        raise UserError(f"learner.lora.targets: {error}") from error
    for place in (model.get_input_embeddings(), model.get_output_embeddings()):
        if hasattr(place, "base_layer"):
            raise UserError(
                "learner.lora.targets: embeddings and the output layer cannot be targets, they may be tied."
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def merged(model: Any, keep: bool) -> dict[str, torch.Tensor]:
    """Return the whole state on the CPU, with additions merged into copies (merging in place and back would let the
    base drift); empty where not `keep`. Call this on every rank: ZeRO-3 gathers one module at a time. What is whole on
    the CPU anyway is not copied."""
    import deepspeed

    state: dict[str, torch.Tensor] = {}
    copies: dict[int, torch.Tensor] = {}  # tied weights stay one tensor
    for key, value in model.state_dict(keep_vars=True).items():
        if "lora_" in key:
            continue
        layer = _lora_layer(model, key)
        parts = list(layer.parameters()) if layer is not None else [value] if hasattr(value, "ds_id") else []
        with deepspeed.zero.GatheredParameters(parts), torch.no_grad():
            if keep:
                whole = value if layer is None else value + layer.get_delta_weight("default").to(value.dtype)
                copy = copies.setdefault(id(value), whole.detach().to("cpu", copy=hasattr(value, "ds_id")))
                state[key.replace(".base_layer.", ".")] = copy
    return state


def _lora_layer(model: Any, key: str) -> Any:
    """Return the module that adds to this weight, if any."""
    name, _, ending = key.rpartition(".base_layer.")
    return model.get_submodule(name) if name and ending == "weight" else None
