"""Token rows → micro-batches without padding, cut by a token budget and dealt evenly to the learner's ranks.

Rows of one prompt that share a micro-batch share the prompt's tokens, too: the shared prompt is computed once per
micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

# (prompt length, completion lengths) of rows that are packed behind one shared prompt
Tree = tuple[int, tuple[int, ...]]
# what the policy is run on for a micro-batch: ids_T, positions_T, trees, states_N, targets_N
Inputs = tuple[torch.Tensor, torch.Tensor, tuple[Tree, ...], torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One sequence to train on: a prompt, and the completion's tokens with what is known of each rollout.

    `token_weight` is the share of each of its tokens in the batch's loss (see the means in losses.py), `logprobs` are
    the sampler's.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    token_weight: float = 0.0
    advantage: float = 0.0
    logprobs: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.token_ids)


@dataclass(frozen=True)
class MicroBatch:
    """Trees one after another, T tokens in all. For the completions' tokens, N in all, `targets_N` are the ids,
    `states_N` the places of the tokens whose states predict them, `rows_N` the numbers of their rows."""

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    trees: tuple[Tree, ...]
    states_N: torch.Tensor
    targets_N: torch.Tensor
    rows_N: torch.Tensor
    token_weights_N: torch.Tensor
    advantages_N: torch.Tensor
    sampler_logprobs_N: torch.Tensor

    @property
    def inputs(self) -> Inputs:
        return self.ids_T, self.positions_T, self.trees, self.states_N, self.targets_N


@dataclass(frozen=True)
class Batch:
    """The micro-batches that one optimiser step trains on. `tokens` is the number of trained tokens over all
    micro-batches."""

    micro_batches: tuple[MicroBatch, ...]
    tokens: int


def build_batch(rows: Sequence[Row], micro_batch_tokens: int, ranks: int = 1) -> Batch:
    """Return micro-batches of at most `micro_batch_tokens` tokens (one over-long row stands alone) and about equal
    work, a multiple of `ranks` in number; where there are too few rows for that, copies of weight 0 stand in. Raises
    ValueError for no rows, and for a row that nothing predicts (no prompt) or that has nothing to train on."""
    if not rows:
        raise ValueError("a batch needs at least one row")
    if any(not row.prompt_ids or not row.token_ids for row in rows):
        raise ValueError("a row needs at least one prompt token and one completion token")
    bins = _deal(_trees(rows, micro_batch_tokens // 4), micro_batch_tokens, ranks)
    return Batch(tuple(_pack(bin) for bin in bins), sum(len(row.token_ids) for row in rows))


def _trees(rows: Sequence[Row], most: int) -> list[list[Row]]:
    """Group the rows: those of the same prompt share a tree, the longest first. A tree holds more than `most` tokens
    only where a single row does, because few large pieces could not be dealt evenly."""
    trees: list[list[Row]] = []
    open_ones: dict[tuple[int, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: -row.length):
        tree = open_ones.get(row.prompt_ids)
        if tree is None or _size(tree) + len(row.token_ids) > most:
            trees.append(tree := [])
            open_ones[row.prompt_ids] = tree
        tree.append(row)
    return trees


def _size(tree: Sequence[Row]) -> int:
    return len(tree[0].prompt_ids) + sum(len(row.token_ids) for row in tree)


def _deal(trees: Sequence[list[Row]], budget: int, ranks: int) -> list[list[list[Row]]]:
    """Deal the trees, the largest first, each to the least filled micro-batch. There are no more of those than the
    budget asks for."""
    ordered = sorted(trees, key=lambda tree: -_size(tree))
    count = _up(-(-sum(map(_size, trees)) // budget), ranks)
    while True:
        bins: list[list[list[Row]]] = [[] for _ in range(count)]
        filled = [0] * count
        for tree in ordered:
            least = min(range(count), key=filled.__getitem__)
            bins[least].append(tree)
            filled[least] += _size(tree)
        if all(size <= budget or len(bin) == 1 for size, bin in zip(filled, bins, strict=True)):
            stand_in = replace(ordered[-1][-1], token_weight=0.0)
            return [bin or [[stand_in]] for bin in bins]
        count += ranks


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _pack(trees: Sequence[Sequence[Row]]) -> MicroBatch:
    ids: list[int] = []
    positions: list[torch.Tensor] = []
    states: list[torch.Tensor] = []
    for tree in trees:
        prompt = len(tree[0].prompt_ids)
        last = len(ids) + prompt - 1  # the prompt's last token predicts the first token of each completion
        ids += tree[0].prompt_ids
        positions.append(torch.arange(prompt))
        for row in tree:
            tokens = len(row.token_ids)
            states += [torch.tensor([last]), torch.arange(len(ids), len(ids) + tokens - 1)]
            positions.append(torch.arange(prompt, prompt + tokens))
            ids += row.token_ids
    rows = [row for tree in trees for row in tree]
    counts = torch.tensor([len(row.token_ids) for row in rows])

    def spread(values: list[float]) -> torch.Tensor:
        return torch.tensor(values).repeat_interleave(counts)

    return MicroBatch(
        ids_T=torch.tensor(ids),
        positions_T=torch.cat(positions),
        trees=tuple((len(tree[0].prompt_ids), tuple(len(row.token_ids) for row in tree)) for tree in trees),
        states_N=torch.cat(states),
        targets_N=torch.tensor([token for row in rows for token in row.token_ids]),
        rows_N=torch.arange(len(rows)).repeat_interleave(counts),
        token_weights_N=spread([row.token_weight for row in rows]),
        advantages_N=spread([row.advantage for row in rows]),
        sampler_logprobs_N=torch.tensor([value for row in rows for value in row.logprobs]),
    )
