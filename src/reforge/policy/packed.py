"""Causal attention over rows that lie one after another: each sees itself alone, and nothing is spent on padding.

Registered with transformers under PACKED, so every decoder of theirs that takes its attention from there can use it,
on CPU and GPU; the lengths of the rows come in as the argument `row_lengths` of the decoder's forward.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from reforge.errors import UserError
from reforge.policy.ulysses import to_heads, to_tokens

PACKED = "reforge_packed"


def packed_attention(
    module: Any,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    row_lengths: tuple[int, ...],
    sequence_group: Any = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """B is 1 and the lengths add up to T; rows of equal length that follow each other share a kernel call. Returns the
    output as (1, T, H, D). With `sequence_group` the tensors hold this rank's slice of the tokens. Raises UserError for
    what it does not compute.
    """
    if sliding_window is not None or softcap is not None or dropout or attention_mask is not None:
        raise UserError(f"{type(module).__name__} asks for a window, a soft cap, dropout or a mask: not supported.")
    if sequence_group is not None:
        query_BHTD, key_BHTD, value_BHTD = (
            to_heads(part, sequence_group) for part in (query_BHTD, key_BHTD, value_BHTD)
        )
    grouped = query_BHTD.shape[1] != key_BHTD.shape[1]
    outputs, start = [], 0
    for length, same in groupby(row_lengths):
        count = len(list(same))
        stop = start + count * length
        query, key, value = (
            part[0, :, start:stop].reshape(part.shape[1], count, length, -1).transpose(0, 1)
            for part in (query_BHTD, key_BHTD, value_BHTD)
        )
        output = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
        start = stop
    output_BTHD = torch.cat(outputs)[None]
    return output_BTHD if sequence_group is None else to_tokens(output_BTHD, sequence_group), None


AttentionInterface.register(PACKED, packed_attention)
