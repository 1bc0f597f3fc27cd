"""Token rows → micro-batches under a token budget, with masks and one global token count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """One sequence to train on: a prompt, and the completion's tokens with what is known of each rollout."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    advantage: float = 0.0
    logprobs: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.token_ids)


@dataclass(frozen=True)
class MicroBatch:
    """`mask_BT` is 1 on completion tokens; N counts its ones in row-major order."""

    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    advantages_N: torch.Tensor
    sampler_logprobs_N: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """What one optimiser step trains on. `tokens` is the number of trained tokens over all micro-batches."""

    micro_batches: tuple[MicroBatch, ...]
    tokens: int


def build_batch(rows: Sequence[Row], micro_batch_tokens: int, pad_id: int) -> Batch:
    """Rows sorted by length are cut so that rows × longest ≤ `micro_batch_tokens` (one over-long row stands alone)."""
    ordered = sorted(rows, key=lambda row: row.length)
    cuts: list[list[Row]] = []
    for row in ordered:
        if cuts and (len(cuts[-1]) + 1) * row.length <= micro_batch_tokens:
            cuts[-1].append(row)
        else:
            cuts.append([row])
    return Batch(tuple(_micro_batch(cut, pad_id) for cut in cuts), sum(len(row.token_ids) for row in rows))


def _micro_batch(rows: Sequence[Row], pad_id: int) -> MicroBatch:
    longest = max(row.length for row in rows)
    ids_BT = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask_BT = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        ids_BT[number, : row.length] = torch.tensor([*row.prompt_ids, *row.token_ids])
        mask_BT[number, len(row.prompt_ids) : row.length] = 1
    return MicroBatch(
        ids_BT,
        mask_BT,
        torch.tensor([row.advantage for row in rows for _ in row.token_ids]),
        torch.tensor([value for row in rows for value in row.logprobs]),
    )
