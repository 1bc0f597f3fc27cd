"""Hand-worked numbers for every loss. Traps, here and elsewhere, are those of docs/traps.md."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reforge.config.training import Correction, Kl, Loss
from reforge.objective.losses import (
    Tokens,
    clipped,
    constant_length,
    importance,
    k1,
    k2,
    k3,
    negative_log_likelihood,
    policy_loss,
    row_sums,
    sequence_mean,
    sequence_ratio,
    token_mean,
    token_weights,
)
from tests.unit.training.policies import LOSS


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def tokens(new: Any, old: Any, advantages: Any, shares: Any, rows: Any = None, **more: Any) -> Tokens:
    zeros = torch.zeros_like(new)
    return Tokens(
        logprobs=new,
        entropy=more.get("entropy", zeros),
        old=old,
        sampler=more.get("sampler", old),
        reference=more.get("reference"),
        advantages=advantages,
        token_weights=shares,
        rows=torch.zeros(len(new), dtype=torch.long) if rows is None else torch.tensor(rows),
    )


def loss(**changed: Any) -> Loss:
    return Loss(**(LOSS | changed))


# --- means --------------------------------------------------------------------------------------------------------


def test_the_three_means_by_hand() -> None:
    assert token_mean([1, 3]) == [0.25, 0.25]
    assert sequence_mean([1, 3]) == [0.5, pytest.approx(1 / 6)]
    assert constant_length([1, 3], 10) == [0.05, 0.05]
    assert token_weights([1, 3], loss(mean="constant", constant_length=10)) == [0.05, 0.05]
    assert token_weights([1, 3], loss(mean="sequence")) == sequence_mean([1, 3])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_token_and_sequence_mean_are_means(lengths: list[int]) -> None:
    for mean in (token_mean, sequence_mean):
        assert sum(share * length for share, length in zip(mean(lengths), lengths, strict=True)) == pytest.approx(1.0)


# --- clipping -----------------------------------------------------------------------------------------------------


def test_clip_higher_by_hand() -> None:
    # ratios 1.5 and 0.5; clip to [0.8, 1.28]; advantages +1 and −1: min(1.5, 1.28) and min(−0.5, −0.8)
    assert clipped(tensor(1.5, 0.5), tensor(1, -1), 0.2, 0.28).tolist() == pytest.approx([1.28, -0.8])


def test_dual_clip_bounds_what_the_minimum_does_not() -> None:
    # A = −1: min(−10, −1.28) = −10 without a bound, −3 with; A = +1 is not touched
    ratio, advantages = tensor(10, 10), tensor(-1, 1)
    assert clipped(ratio, advantages, 0.2, 0.28).tolist() == pytest.approx([-10, 1.28])
    assert clipped(ratio, advantages, 0.2, 0.28, dual=3.0).tolist() == pytest.approx([-3, 1.28])
    seen = policy_loss(tokens(ratio.log(), tensor(0, 0), advantages, tensor(0.5, 0.5)), loss(dual_clip=3.0))[1]
    assert {name: values.tolist() for name, values in seen.items() if "clip" in name} == {
        "clip/low": [0, 0],
        "clip/high": [0, 1],
        "clip/dual": [1, 0],
    }


def test_clipping_is_effective_unlike_in_the_published_code() -> None:
    """rllm#81: the released loss averaged the unclipped term, so a clipped token still had a gradient."""
    new = tensor(0.3, 0.22).log().requires_grad_()
    total, _ = policy_loss(tokens(new, tensor(0.2, 0.2).log(), tensor(1, 1), tensor(0.5, 0.5)), loss())
    total.backward()
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx([0.0, -1.1 / 2])  # ratios 1.5, beyond 1.28, and 1.1


def test_trap_11_the_first_update_is_the_plain_policy_gradient() -> None:
    new, advantages = tensor(-1.0, -2.0, -0.5).requires_grad_(), tensor(0.7, -1.1, 0.4)
    shares = torch.full((3,), 1 / 3, dtype=torch.float64)
    total, seen = policy_loss(tokens(new, new.detach(), advantages, shares), loss())
    total.backward()
    assert seen["ratio/mean"].tolist() == [1.0, 1.0, 1.0]  # exactly
    assert seen["clip/low"].sum() == seen["clip/high"].sum() == 0
    assert torch.allclose(new.grad, -advantages / 3)


# --- rollouts as a whole ------------------------------------------------------------------------------------------


def test_gspo_by_hand() -> None:
    # two rollouts, of 2 tokens and of 1: exp((0.2 + 0.4) / 2) and exp(−0.1)
    ratio = sequence_ratio(tensor(0.2, 0.4, -0.1), tensor(0, 0, 0), torch.tensor([0, 0, 1]))
    assert ratio.tolist() == pytest.approx([math.exp(0.3), math.exp(0.3), math.exp(-0.1)])


def test_gspos_gradient_is_spread_over_the_rollout() -> None:
    """d exp(mean) / d each = exp(mean) / length: with the sequence mean, A·s / (n·|y|) a token."""
    new = tensor(0.1, 0.0, 0.05).requires_grad_()
    shares = tensor(*sequence_mean([2, 1])).repeat_interleave(torch.tensor([2, 1]))
    total, _ = policy_loss(
        tokens(new, tensor(0, 0, 0), tensor(1, 1, -1), shares, [0, 0, 1]), loss(ratio="sequence", mean="sequence")
    )
    total.backward()
    first, second = math.exp(0.05), math.exp(0.05)
    assert new.grad.tolist() == pytest.approx([-first / 4, -first / 4, second / 2])


def test_row_sums() -> None:
    assert row_sums(tensor(1, 2, 4), torch.tensor([0, 1, 1])).tolist() == [1, 6, 6]


# --- the sampler's gap --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "above", "expected"),
    [
        ("token", "clamp", [2.0, 0.5, 1.0]),  # e^log4 = 4 → 2
        ("token", "mask", [0.0, 0.5, 1.0]),
        ("sequence", "clamp", [2.0, 2.0, 1.0]),  # 4 · 0.5 = 2, at the limit
        ("sequence", "mask", [2.0, 2.0, 1.0]),
    ],
)
def test_trap_10_importance_of_the_sampler_by_hand(level: str, above: str, expected: list[float]) -> None:
    old, sampler = tensor(math.log(4), math.log(0.5), 0.3), tensor(0, 0, 0.3)
    correction = Correction(level=level, above=above, limit=2.0)  # type: ignore[arg-type]
    assert importance(old, sampler, torch.tensor([0, 0, 1]), correction).tolist() == pytest.approx(expected)


def test_the_correction_weighs_the_objective_and_has_no_gradient_of_its_own() -> None:
    correction = Correction(level="token", above="clamp", limit=2.0)
    new = tensor(-1.0, -1.0).requires_grad_()
    given_ = tokens(new, new.detach(), tensor(1, 1), tensor(0.5, 0.5), sampler=tensor(-1 - math.log(4), -0.5))
    total, seen = policy_loss(given_, loss(correction=correction))
    total.backward()
    assert new.grad.tolist() == pytest.approx([-1.0, -math.exp(-0.5) / 2])
    assert seen["correction/mean"].tolist() == pytest.approx([2.0, math.exp(-0.5)])
    assert seen["correction/limited"].tolist() == [1.0, 0.0]


# --- KL and entropy -----------------------------------------------------------------------------------------------


def test_kl_estimators_by_hand() -> None:
    new, reference = tensor(math.log(0.5)), tensor(math.log(0.25))
    assert k1(new, reference).item() == pytest.approx(math.log(2))
    assert k2(new, reference).item() == pytest.approx(math.log(2) ** 2 / 2)
    assert k3(new, reference).item() == pytest.approx(0.5 - 1 + math.log(2))


def _expected_gradient(estimator: str, weighted: bool, old: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """∂/∂logits of the loss, over all tokens of a vocabulary of three that `old` may draw."""
    reference = tensor(0.5, 0.3, 0.2).log()
    leaf = logits.clone().requires_grad_()
    new = leaf.log_softmax(-1)
    given_ = tokens(new, old.log(), tensor(0, 0, 0), old, rows=[0, 1, 2], reference=reference)
    total, _ = policy_loss(given_, loss(kl=Kl(estimator=estimator, coefficient=1.0, weighted=weighted)))  # type: ignore[arg-type]
    total.backward()
    assert leaf.grad is not None
    return leaf.grad


def _gradient_of_kl(logits: torch.Tensor, forward: bool) -> torch.Tensor:
    leaf, reference = logits.clone().requires_grad_(), tensor(0.5, 0.3, 0.2)
    p = leaf.softmax(-1)
    kl = (reference * (reference / p).log()).sum() if forward else (p * (p / reference).log()).sum()
    kl.backward()
    assert leaf.grad is not None
    return leaf.grad


LOGITS = tensor(0.2, -0.4, 0.1)


def test_trap_20_what_each_estimator_is_the_gradient_of() -> None:
    """On policy: k1 in the loss is no penalty at all, k2 is KL(π‖ref), k3 is KL(ref‖π) (TRL#4967)."""
    on_policy = LOGITS.softmax(-1)
    assert torch.allclose(_expected_gradient("k1", False, on_policy, LOGITS), torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(_expected_gradient("k2", False, on_policy, LOGITS), _gradient_of_kl(LOGITS, forward=False))
    assert torch.allclose(_expected_gradient("k3", False, on_policy, LOGITS), _gradient_of_kl(LOGITS, forward=True))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_trap_20_weighted_by_the_ratio_it_is_unbiased_also_off_policy(estimator: str) -> None:
    """NeMo-RL#2506 lacked the score term, TRL#4638 the weight. k2 is no unbiased estimate of KL in the first place."""
    off_policy = tensor(0.2, 0.2, 0.6)
    weighted = _expected_gradient(estimator, True, off_policy, LOGITS)
    assert torch.allclose(weighted, _gradient_of_kl(LOGITS, forward=False))
    assert not torch.allclose(_expected_gradient(estimator, False, off_policy, LOGITS), weighted)


def test_entropy_is_added_to_what_is_maximised() -> None:
    given_ = tokens(tensor(0, 0), tensor(0, 0), tensor(0, 0), tensor(0.5, 0.5), entropy=tensor(1.0, 3.0))
    assert policy_loss(given_, loss(entropy=0.1))[0].item() == pytest.approx(-0.2)


# --- sums ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[1, 4], [2, 3], [1, 1, 1, 1, 1]])
def test_trap_01_parts_of_a_batch_add_up_to_the_whole_however_it_is_cut(cuts: list[int]) -> None:
    """TRL#6024/#5890, ms-swift#10117: the scale must not depend on accumulation."""
    generator = torch.Generator().manual_seed(0)
    new, old, advantages = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    shares = torch.full((5,), 0.2, dtype=torch.float64)
    whole, _ = policy_loss(tokens(new, old, advantages, shares, [0, 1, 2, 3, 4]), loss())
    pieces = zip(*(values.split(cuts) for values in (new, old, advantages, shares)), strict=True)
    parts = sum(policy_loss(tokens(*piece), loss())[0] for piece in pieces)
    assert float(parts) == pytest.approx(whole.item(), rel=1e-12)


def test_negative_log_likelihood_weighs_each_token() -> None:
    logprobs = tensor(0.5, 0.25).log()
    assert negative_log_likelihood(logprobs, tensor(0.25, 0.25)).item() == pytest.approx(3 * math.log(2) / 4)
