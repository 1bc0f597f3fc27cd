"""Token rows → micro-batches without padding, cut by a token budget and dealt evenly to the learner's ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Row:
    """One sequence to train on: a prompt, and the completion's tokens with what is known of each rollout.

    `weight` is the share of each of its tokens in the batch's loss (see the means in losses.py), `logprobs` are the
    sampler's.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    weight: float = 0.0
    advantage: float = 0.0
    logprobs: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.token_ids)


@dataclass(frozen=True)
class MicroBatch:
    """Rows of `lengths` tokens one after another, T in all. `targets_N` are the places of the completions' tokens among
    them, `rows_N` number the row that each belongs to.
    """

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    lengths: tuple[int, ...]
    targets_N: torch.Tensor
    rows_N: torch.Tensor
    weights_N: torch.Tensor
    advantages_N: torch.Tensor
    sampler_logprobs_N: torch.Tensor

    @property
    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, tuple[int, ...], torch.Tensor]:
        """What the policy is run on."""
        return self.ids_T, self.positions_T, self.lengths, self.targets_N


@dataclass(frozen=True)
class Batch:
    """What one optimiser step trains on. `tokens` are the trained ones, over all micro-batches."""

    micro_batches: tuple[MicroBatch, ...]
    tokens: int


def build_batch(rows: Sequence[Row], micro_batch_tokens: int, ranks: int = 1) -> Batch:
    """Micro-batches of at most `micro_batch_tokens` tokens (one over-long row stands alone) and about equal work, a
    multiple of `ranks` in number; where there are too few rows for that, copies of weight 0 stand in. Raises ValueError
    for no rows, and for a row that nothing predicts (no prompt) or that has nothing to train on.
    """
    if not rows:
        raise ValueError("a batch needs at least one row")
    if any(not row.prompt_ids or not row.token_ids for row in rows):
        raise ValueError("a row needs at least one prompt token and one completion token")
    bins = _deal(rows, micro_batch_tokens, ranks)
    return Batch(tuple(_pack(bin) for bin in bins), sum(len(row.token_ids) for row in rows))


def _deal(rows: Sequence[Row], budget: int, ranks: int) -> list[list[Row]]:
    """The longest first, each to the least filled micro-batch: no more of them than the budget asks for."""
    ordered = sorted(rows, key=lambda row: -row.length)
    total = sum(row.length for row in rows)
    count = _up(-(-total // budget), ranks)
    while True:
        bins: list[list[Row]] = [[] for _ in range(count)]
        filled = [0] * count
        for row in ordered:
            least = min(range(count), key=filled.__getitem__)
            bins[least].append(row)
            filled[least] += row.length
        if all(size <= budget or len(bin) == 1 for size, bin in zip(filled, bins, strict=True)):
            stand_in = replace(ordered[-1], weight=0.0)
            return [bin or [stand_in] for bin in bins]
        count += ranks


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _pack(rows: Sequence[Row]) -> MicroBatch:
    ids: list[int] = []
    targets: list[torch.Tensor] = []
    for row in rows:
        first = len(ids) + len(row.prompt_ids)
        targets.append(torch.arange(first, first + len(row.token_ids)))
        ids += [*row.prompt_ids, *row.token_ids]
    counts = torch.tensor([len(row.token_ids) for row in rows])

    def spread(values: list[float]) -> torch.Tensor:
        return torch.tensor(values).repeat_interleave(counts)

    return MicroBatch(
        ids_T=torch.tensor(ids),
        positions_T=torch.cat([torch.arange(row.length) for row in rows]),
        lengths=tuple(row.length for row in rows),
        targets_N=torch.cat(targets),
        rows_N=torch.arange(len(rows)).repeat_interleave(counts),
        weights_N=spread([row.weight for row in rows]),
        advantages_N=spread([row.advantage for row in rows]),
        sampler_logprobs_N=torch.tensor([value for row in rows for value in row.logprobs]),
    )
