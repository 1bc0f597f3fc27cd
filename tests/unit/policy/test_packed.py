"""Packed rows against each row alone, in every family: values, gradients, and that no row sees another."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from reforge.batches import Row, build_batch
from reforge.config.policy import Architecture
from reforge.errors import UserError
from reforge.policy.model import TokenLogprobs, new_model
from reforge.policy.packed import packed_attention

ROOT = Path(__file__).parents[3]
SIZES = {"hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 4, "kv_heads": 4, "context": 128}


class Vocabulary:
    pad_token_id, eos_token_id = 0, 3

    def __len__(self) -> int:
        return 50


def of_family(name: str) -> Any:
    """As conf/model/NAME.yaml has it, in small."""
    values = yaml.safe_load((ROOT / "conf" / "model" / f"{name}.yaml").read_text())["architecture"]
    own = {key: values[key] for key in ("family", "kv_heads", "extra") if key in values}
    return new_model(Architecture(**{**SIZES, "extra": {}, **own}), Vocabulary(), 0)  # type: ignore[arg-type]


def some_rows() -> list[Row]:
    generator = torch.Generator().manual_seed(1)
    lengths = [(3, 5), (2, 10), (7, 1), (3, 5), (4, 9)]
    ids = [torch.randint(0, 50, (prompt + tokens,), generator=generator).tolist() for prompt, tokens in lengths]
    return [Row(tuple(row[:prompt]), tuple(row[prompt:]), 1.0) for row, (prompt, _) in zip(ids, lengths, strict=True)]


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
    (micro,) = build_batch(some_rows(), 1000).micro_batches
    logprobs, _ = TokenLogprobs(packed)(*micro.inputs, 0.7)
    weights = torch.randn(len(logprobs), generator=torch.Generator().manual_seed(2))
    (logprobs * weights).sum().backward()
    expected = torch.cat([plain(alone, row, 0.7) for row in sorted(some_rows(), key=lambda row: -row.length)])
    (expected * weights).sum().backward()
    assert torch.allclose(logprobs, expected, atol=1e-5)
    for (name, ours), theirs in zip(packed.named_parameters(), alone.parameters(), strict=True):
        if theirs.grad is not None and theirs.grad.norm() > 0:
            assert (ours.grad - theirs.grad).norm() / theirs.grad.norm() < 1e-5, name


def test_the_comparison_can_fail() -> None:
    """A row that saw its neighbour, a position that runs on, or another temperature would be found."""
    model = of_family("fresh")
    (micro,) = build_batch(some_rows(), 1000).micro_batches
    ids, positions, lengths, targets = micro.inputs
    right, _ = TokenLogprobs(model)(*micro.inputs, 0.7)
    whole = (sum(lengths),)
    network = TokenLogprobs(model)
    assert not torch.allclose(right, network(ids, positions, whole, targets, 0.7)[0], atol=1e-4)
    assert not torch.allclose(right, network(ids, positions, lengths, targets, 1.0)[0], atol=1e-4)
    assert not torch.allclose(right, network(ids, positions, lengths, targets - 1, 0.7)[0], atol=1e-4)


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
            packed_attention(object(), part, part, part, None, row_lengths=(4,), **asked)  # type: ignore[arg-type]


def test_models_that_scale_their_logits_are_refused() -> None:
    """Nothing else would notice: all log-probs would be a little off."""
    model = of_family("fresh")
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(UserError, match="qwen2 models with final_logit_softcapping are not supported"):
        TokenLogprobs(model)
