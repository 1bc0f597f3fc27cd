"""Causal attention over trees that lie one after another: a completion sees its prompt and itself alone, and nothing is
spent on padding.

Registered with transformers under PACKED, so every decoder of theirs that takes its attention from there can use it, on
CPU and GPU; the lengths of the trees come in as the argument `trees` of the decoder's forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from reforge.errors import UserError
from reforge.policy.batches import Tree
from reforge.policy.ulysses import to_heads, to_tokens

PACKED = "reforge_packed"


def packed_attention(
    module: Any,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    trees: tuple[Tree, ...],
    sequence_group: Any = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return the output as (1, T, H, D). B is 1 and the trees' tokens add up to T; trees of equal lengths that follow
    each other share a kernel call. With `sequence_group` the tensors hold this rank's slice of the tokens. Raises
    UserError for what it does not compute."""
    if sliding_window is not None or softcap is not None or dropout or attention_mask is not None:
        raise UserError(f"{type(module).__name__} asks for a window, a soft cap, dropout or a mask: not supported.")
    parts = [query_BHTD, key_BHTD, value_BHTD]
    if sequence_group is not None:
        parts = [to_heads(part, sequence_group) for part in parts]
    outputs, start = [], 0
    for (prompt, completions), alike in groupby(trees):
        count, size = len(list(alike)), prompt + sum(completions)
        stop = start + count * size
        of_tree_KHSD = [
            part[0, :, start:stop].reshape(part.shape[1], count, size, -1).transpose(0, 1) for part in parts
        ]
        outputs.append(_attend(of_tree_KHSD, prompt, completions, scaling).flatten(0, 1))
        start = stop
    output_BTHD = torch.cat(outputs)[None]
    return output_BTHD if sequence_group is None else to_tokens(output_BTHD, sequence_group), None


def _attend(
    parts_KHSD: Sequence[torch.Tensor], prompt: int, completions: tuple[int, ...], scaling: float | None
) -> torch.Tensor:
    """Return the output as (K, S, H, D), for (K, H, S, D) of query, key and value of K trees of equal lengths. For each
    completion the prompt is attended to anew: that is little beside the rest of the network, and needs no kernel but
    the causal one."""
    attend = partial(scaled_dot_product_attention, is_causal=True, scale=scaling)
    attend = partial(attend, enable_gqa=parts_KHSD[0].shape[1] != parts_KHSD[1].shape[1])
    if len(completions) == 1:  # the whole is one row: nothing to take apart
        return attend(*parts_KHSD).transpose(1, 2)
    outputs, start = [], prompt
    for length, same in groupby(completions):
        count = len(list(same))
        query, key, value = (_rows(part_KHSD, prompt, start, count, length) for part_KHSD in parts_KHSD)
        output = attend(query, key, value)
        output_KRLHD = output.reshape(-1, count, *output.shape[1:]).transpose(2, 3)
        if start == prompt:
            outputs.append(output_KRLHD[:, 0, :prompt])
        outputs.append(output_KRLHD[:, :, prompt:].flatten(1, 2))
        start += count * length
    return torch.cat(outputs, 1)


def _rows(part_KHSD: torch.Tensor, prompt: int, start: int, count: int, length: int) -> torch.Tensor:
    """Return (K · count, H, prompt + length, D): of each tree `count` completions from `start` on, each after the
    prompt."""
    own = part_KHSD[:, :, start : start + count * length]
    own = own.reshape(*own.shape[:2], count, length, -1).transpose(1, 2)
    shared = part_KHSD[:, None, :, :prompt].expand(-1, count, -1, -1, -1)
    return torch.cat([shared, own], 3).flatten(0, 1)


AttentionInterface.register(PACKED, packed_attention)
