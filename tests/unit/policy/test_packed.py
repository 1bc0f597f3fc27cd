"""Packed rows against each row alone, in every family: values, gradients, and that no row sees another."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from reforge.config.policy import Architecture
from reforge.errors import UserError
from reforge.policy.batches import MicroBatch, Row, build_batch
from reforge.policy.model import TokenLogprobs, new_model
from reforge.policy.packed import packed_attention

ROOT = Path(__file__).parents[3]
SIZES = {"hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 4, "kv_heads": 4, "context": 128}


class Vocabulary:
    pad_token_id, eos_token_id = 0, 3

    def __len__(self) -> int:
        return 50


def of_family(name: str) -> Any:
    """As conf/base/NAME.yaml has it, in small."""
    values = yaml.safe_load((ROOT / "conf" / "base" / f"{name}.yaml").read_text())["architecture"]
    own = {key: values[key] for key in ("family", "kv_heads", "extra") if key in values}
    return new_model(Architecture(**{**SIZES, "extra": {}, **own}), Vocabulary(), 0)  # type: ignore[arg-type]


def some_rows() -> list[Row]:
    """Two of them, of the same length, share their prompt with a third."""
    generator = torch.Generator().manual_seed(1)
    lengths = [(3, 5), (2, 10), (7, 1), (3, 5), (4, 9)]
    ids = [torch.randint(0, 50, (prompt + tokens,), generator=generator).tolist() for prompt, tokens in lengths]
    rows = [Row(tuple(row[:prompt]), tuple(row[prompt:]), 1.0) for row, (prompt, _) in zip(ids, lengths, strict=True)]
    return [*rows, replace(rows[1], prompt_ids=rows[0].prompt_ids), replace(rows[3], prompt_ids=rows[0].prompt_ids)]


def in_order(micro: MicroBatch, rows: Sequence[Row]) -> list[Row]:
    """As they lie in the micro-batch: their advantages number them."""
    places = dict(zip(micro.rows_N.tolist(), micro.advantages_N.tolist(), strict=True))
    return [rows[int(places[place])] for place in range(len(rows))]


def plain(model: Any, row: Row, temperature: float) -> torch.Tensor:
    """Log-probs of a completion by the model itself, alone and unpacked."""
    ids = torch.tensor([[*row.prompt_ids, *row.token_ids]])
    logits = model(input_ids=ids).logits[0, len(row.prompt_ids) - 1 : -1] / temperature
    return torch.log_softmax(logits, -1).gather(-1, ids[0, len(row.prompt_ids) :, None]).squeeze(-1)


@pytest.mark.parametrize("family", ["fresh", "qwen3", "llama", "deepseek_v2"])
def test_trap_06_packed_rows_are_what_they_are_alone(family: str) -> None:
    """No mask is missing (TRL#2708), no position off (TRL#6800), no logit one place beside (TRL#3681), and the
    temperature divides (TRL#4159): log-probs and all gradients are the model's own, row by row."""
    packed, alone = of_family(family), of_family(family)
    rows = [replace(row, advantage=float(number)) for number, row in enumerate(some_rows())]
    (micro,) = build_batch(rows, 1000).micro_batches
    assert max(len(completions) for _, completions in micro.trees) == 3
    logprobs, _ = TokenLogprobs(packed)(*micro.inputs, 0.7)
    weights = torch.randn(len(logprobs), generator=torch.Generator().manual_seed(2))
    (logprobs * weights).sum().backward()
    expected = torch.cat([plain(alone, row, 0.7) for row in in_order(micro, rows)])
    (expected * weights).sum().backward()
    assert torch.allclose(logprobs, expected, atol=1e-5)
    for (name, ours), theirs in zip(packed.named_parameters(), alone.parameters(), strict=True):
        if theirs.grad is not None and theirs.grad.norm() > 0:
            assert (ours.grad - theirs.grad).norm() / theirs.grad.norm() < 1e-5, name


def test_the_comparison_can_fail() -> None:
    """A row that saw its neighbour, a position that runs on, or another temperature would be found."""
    model = of_family("fresh")
    (micro,) = build_batch(some_rows(), 1000).micro_batches
    ids, positions, trees, states, targets = micro.inputs
    right, _ = TokenLogprobs(model)(*micro.inputs, 0.7)
    neighbours = ((0, (len(ids),)),)
    siblings = tuple((prompt, (sum(completions),)) for prompt, completions in trees)
    network = TokenLogprobs(model)
    for wrong in (neighbours, siblings):
        assert not torch.allclose(right, network(ids, positions, wrong, states, targets, 0.7)[0], atol=1e-4)
    assert not torch.allclose(right, network(ids, torch.arange(len(ids)), trees, states, targets, 0.7)[0], atol=1e-4)
    assert not torch.allclose(right, network(ids, positions, trees, states, targets, 1.0)[0], atol=1e-4)
    assert not torch.allclose(right, network(ids, positions, trees, states - 1, targets, 0.7)[0], atol=1e-4)


def test_the_order_of_packing_changes_nothing() -> None:
    model = TokenLogprobs(of_family("fresh"))
    found = []
    for order in permutations([some_rows()[number] for number in (0, 1, 4)]):
        micro = build_batch(list(order), 1000).micro_batches[0]
        found.append(model(*micro.inputs, 1.0)[0])
    assert all(torch.equal(found[0], other) for other in found)  # build_batch sorts by length


def test_what_it_does_not_compute_is_refused() -> None:
    part = torch.zeros(1, 2, 4, 8)
    for asked in ({"sliding_window": 2}, {"softcap": 30.0}, {"dropout": 0.1}):
        with pytest.raises(UserError, match="not supported"):
            packed_attention(object(), part, part, part, None, trees=((1, (3,)),), **asked)  # type: ignore[arg-type]


def test_models_that_scale_their_logits_are_refused() -> None:
    """Nothing else would notice: all log-probs would be a little off."""
    model = of_family("fresh")
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(UserError, match="qwen2 models with final_logit_softcapping are not supported"):
        TokenLogprobs(model)
