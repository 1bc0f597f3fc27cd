"""Sequence parallelism (DeepSpeed-Ulysses, Jacobs et al. 2023): several ranks share the tokens of one micro-batch.

Each runs its slice of the tokens through the network; only attention needs all of them, so before it tokens are traded
for heads, and back after it. DeepSpeed's own wrapper wants its data loader, its loss and equal slices of one padded
sequence; here the slices are of packed trees, and the loss sees the log-probs of all of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed


class _Exchange(torch.autograd.Function):
    """An all-to-all exchange along the first axis. It is its own inverse, so its own gradient."""

    @staticmethod
    def forward(ctx: Any, parts: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        received = torch.empty_like(parts)
        distributed.all_to_all_single(received, parts.contiguous(), group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        received = torch.empty_like(gradients[0])
        distributed.all_to_all_single(received, gradients[0].contiguous(), group=ctx.group)
        return received, None


def to_heads(slice_BHtD: torch.Tensor, group: Any) -> torch.Tensor:
    """Turn this rank's tokens of all heads into all tokens of its heads; where there are more ranks than heads, those
    are repeated."""
    ranks, heads = distributed.get_world_size(group), slice_BHtD.shape[1]
    if heads < ranks:
        slice_BHtD = slice_BHtD.repeat_interleave(ranks // heads, 1)
    exchange: Any = _Exchange.apply
    parts = torch.stack(slice_BHtD.chunk(ranks, 1))  # one part of the heads for each rank
    return torch.cat(list(exchange(parts, group)), 2)


def to_tokens(all_BThD: torch.Tensor, group: Any) -> torch.Tensor:
    """Turn attention's output for all tokens of this rank's heads back into this rank's tokens of all heads."""
    exchange: Any = _Exchange.apply
    parts = torch.stack(all_BThD.chunk(distributed.get_world_size(group), 1))
    return torch.cat(list(exchange(parts, group)), 2)


class _Gather(torch.autograd.Function):
    """A gathering of the values of all ranks, each in its place. All ranks compute the same loss from them, so each
    keeps its own gradient."""

    @staticmethod
    def forward(ctx: Any, own_n: torch.Tensor, holder_N: torch.Tensor, group: Any) -> torch.Tensor:
        counts = holder_N.bincount(minlength=distributed.get_world_size(group)).tolist()
        padded = torch.nn.functional.pad(own_n, (0, max(counts) - len(own_n)))
        received = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(received, padded, group=group)
        ctx.own_N = holder_N == distributed.get_rank(group)
        all_N = torch.empty(len(holder_N), dtype=own_n.dtype, device=own_n.device)
        for rank, (part, count) in enumerate(zip(received, counts, strict=True)):
            all_N[holder_N == rank] = part[:count]
        return all_N

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradients[0][ctx.own_N], None, None


def gather(own_n: torch.Tensor, holder_N: torch.Tensor, group: Any) -> torch.Tensor:
    """Return the N values of all ranks. `holder_N` says which rank has each of them; `own_n` are this one's, in that
    order."""
    apply: Any = _Gather.apply
    gathered: torch.Tensor = apply(own_n, holder_N, group)
    return gathered
