"""Losses as pure functions: log-probs, advantages and the *global* token count in, (loss, metrics) out.

A micro-batch's loss is its part of one mean over all trained tokens of the batch, so parts simply add up and the
gradient does not depend on how the batch was cut (TRL#5890, verl#7829).
"""

from __future__ import annotations

from torch import Tensor


def grpo_plus(
    logprobs_N: Tensor, old_logprobs_N: Tensor, advantages_N: Tensor, clip_low: float, clip_high: float, tokens: int
) -> tuple[Tensor, dict[str, float]]:
    """Clipped policy gradient, token mean, no KL and no entropy term (DeepCoder's GRPO+; clip-higher from DAPO).

    The metrics are sums over this micro-batch, to be added up and divided by `tokens`. DeepCoder's released code
    averaged the unclipped term (rllm#81); here the clipped objective is what is optimised.
    """
    ratio_N = (logprobs_N - old_logprobs_N).exp()
    clipped_N = ratio_N.clamp(1.0 - clip_low, 1.0 + clip_high)
    objective_N = (ratio_N * advantages_N).minimum(clipped_N * advantages_N)
    loss = -objective_N.sum() / tokens
    metrics = {
        "ratio/mean": float(ratio_N.detach().sum()),
        "clip/low": float(((ratio_N < 1.0 - clip_low) & (advantages_N < 0)).sum()),
        "clip/high": float(((ratio_N > 1.0 + clip_high) & (advantages_N > 0)).sum()),
    }
    return loss, metrics


def negative_log_likelihood(logprobs_N: Tensor, tokens: int) -> Tensor:
    """This micro-batch's part of the mean negative log-likelihood over `tokens` trained tokens."""
    return -logprobs_N.sum() / tokens
