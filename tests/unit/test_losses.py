import math

import pytest
import torch

from reforge.losses import grpo_plus, negative_log_likelihood


def test_grpo_plus_by_hand():
    # ratios 1.5 and 0.5; clip to [0.8, 1.28]; advantages +1 and −1:
    # min(1.5, 1.28) = 1.28 and min(−0.5, −0.8) = −0.8; loss = −(1.28 − 0.8) / 2
    old = torch.log(torch.tensor([0.2, 0.2]))
    new = torch.log(torch.tensor([0.3, 0.1]))
    loss, metrics = grpo_plus(new, old, torch.tensor([1.0, -1.0]), 0.2, 0.28, tokens=2)
    assert loss.item() == pytest.approx(-0.24, abs=1e-6)
    assert metrics == pytest.approx({"ratio/mean": 2.0, "clip/low": 1.0, "clip/high": 1.0})


def test_clipping_is_effective_unlike_in_the_published_code():
    """rllm#81: the released loss averaged the unclipped term, so a clipped token still had a gradient."""
    new = torch.log(torch.tensor([0.3, 0.22])).requires_grad_()
    old = torch.log(torch.tensor([0.2, 0.2]))
    loss, _ = grpo_plus(new, old, torch.tensor([1.0, 1.0]), 0.2, 0.28, tokens=2)
    loss.backward()
    assert new.grad is not None
    assert new.grad[0].item() == 0.0  # ratio 1.5 is beyond 1.28
    assert new.grad[1].item() == pytest.approx(-1.1 / 2)  # ratio 1.1 is within


def test_first_update_on_policy_has_ratio_one_and_the_plain_policy_gradient():
    new = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantages = torch.tensor([0.7, -1.1, 0.4])
    loss, metrics = grpo_plus(new, new.detach(), advantages, 0.2, 0.28, tokens=3)
    loss.backward()
    assert metrics == {"ratio/mean": 3.0, "clip/low": 0.0, "clip/high": 0.0}
    assert torch.allclose(new.grad, -advantages / 3)


@pytest.mark.parametrize("cuts", [[1, 4], [2, 3], [1, 1, 1, 1, 1]])
def test_parts_of_a_batch_add_up_to_the_whole_however_it_is_cut(cuts):
    generator = torch.Generator().manual_seed(0)
    new, old, advantages = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    whole, _ = grpo_plus(new, old, advantages, 0.2, 0.28, tokens=5)
    pieces = zip(new.split(cuts), old.split(cuts), advantages.split(cuts), strict=True)
    parts = sum(grpo_plus(*piece, 0.2, 0.28, tokens=5)[0] for piece in pieces)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-12)


def test_negative_log_likelihood_is_a_mean_over_the_global_count():
    logprobs = torch.log(torch.tensor([0.5, 0.25]))
    assert negative_log_likelihood(logprobs, tokens=4).item() == pytest.approx(3 * math.log(2) / 4)
