"""Pure functions from log-probs, advantages and each token's weight to the loss and per-token values for metrics.

The weights come from the whole update (`token_mean` and its siblings take the lengths of *all* its rollouts), so a
micro-batch's loss is its part of one mean: parts simply add up, over micro-batches and over ranks, and the gradient
does not depend on how the batch was cut (TRL#5890, verl#7829). Rollouts that teach nothing (advantage 0) need no
forward pass, but their tokens are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reforge.config.training import Correction, Loss

# --- means: the lengths of all rollouts of the update → the weight of a token of each -----------------------------


def token_mean(lengths: Sequence[int]) -> list[float]:
    """Weight every token the same (GRPO+, DAPO)."""
    return [1.0 / sum(lengths)] * len(lengths)


def sequence_mean(lengths: Sequence[int]) -> list[float]:
    """Weight every rollout the same, so a token of a long one less (GRPO as first published, GSPO)."""
    return [1.0 / (len(lengths) * length) for length in lengths]


def constant_length(lengths: Sequence[int], constant: int) -> list[float]:
    """Weight as `sequence_mean` does, with one constant in place of each length (Dr. GRPO). It is not the rung's
    max_tokens: the scale of the gradient would halve from 16K to 32K."""
    return [1.0 / (len(lengths) * constant)] * len(lengths)


def token_weights(lengths: Sequence[int], config: Loss) -> list[float]:
    if config.mean == "constant":
        return constant_length(lengths, config.constant_length or 1)
    return {"token": token_mean, "sequence": sequence_mean}[config.mean](lengths)


# --- ratios and weights of a token ---------------------------------------------------------------------------------


def row_sums(values_N: Tensor, rows_N: Tensor) -> Tensor:
    """Return at each token the sum over its row."""
    rows = int(rows_N.max()) + 1
    return torch.zeros(rows, dtype=values_N.dtype, device=values_N.device).index_add(0, rows_N, values_N)[rows_N]


def token_ratio(logprobs_N: Tensor, old_N: Tensor, rows_N: Tensor) -> Tensor:
    """Return π/π_old of each token."""
    return (logprobs_N - old_N).exp()


def sequence_ratio(logprobs_N: Tensor, old_N: Tensor, rows_N: Tensor) -> Tensor:
    """Return at each token its rollout's π/π_old to the power of 1/length (GSPO, Zheng et al. 2025, eq. 7)."""
    counts_N = row_sums(torch.ones_like(logprobs_N), rows_N)
    return (row_sums(logprobs_N - old_N, rows_N) / counts_N).exp()


def importance(old_N: Tensor, sampler_N: Tensor, rows_N: Tensor, config: Correction) -> Tensor:
    """Return π_old/π_sampler with no gradient, which corrects for a sampler with different kernels or older weights
    (truncated importance sampling, Yao et al. 2025): of each token or of its whole rollout; above `limit` clamped or 0.
    """
    gap_N = (old_N - sampler_N).detach()
    if config.level == "sequence":
        gap_N = row_sums(gap_N, rows_N)
    weight_N = gap_N.exp()
    if config.above == "clamp":
        return weight_N.clamp(max=config.limit)
    return weight_N.where(weight_N <= config.limit, 0.0)


# --- parts of the objective, per token -----------------------------------------------------------------------------


def clipped(ratio_N: Tensor, advantages_N: Tensor, low: float, high: float, dual: float | None = None) -> Tensor:
    """Return min(ratio·A, clip(ratio)·A), to be maximised. Clip-higher (DAPO) is `high` > `low`. `dual` bounds the
    ratio where A < 0, where the minimum does not (Ye et al. 2020). DeepCoder's released code averaged the unclipped
    term (rllm#81); here the clipped objective is what is optimised."""
    clipped_N = ratio_N.clamp(1.0 - low, 1.0 + high)
    objective_N = (ratio_N * advantages_N).minimum(clipped_N * advantages_N)
    if dual is None:
        return objective_N
    return objective_N.where(advantages_N >= 0, objective_N.maximum(dual * advantages_N))


def k1(logprobs_N: Tensor, reference_N: Tensor) -> Tensor:
    """Return log(π/π_ref). As a loss its gradient is 0 on average: use it with `weighted`, or only as a metric."""
    return logprobs_N - reference_N


def k2(logprobs_N: Tensor, reference_N: Tensor) -> Tensor:
    """Return ½ log²(π/π_ref). As a loss its gradient on policy is that of KL(π‖π_ref)."""
    return (logprobs_N - reference_N).square() / 2


def k3(logprobs_N: Tensor, reference_N: Tensor) -> Tensor:
    """Return π_ref/π − 1 − log(π_ref/π), which GRPO uses. As a loss its gradient on policy is that of KL(π_ref‖π)
    (TRL#4967)."""
    gap_N = reference_N - logprobs_N
    return gap_N.exp() - gap_N - 1.0


KL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}
_RATIOS = {"token": token_ratio, "sequence": sequence_ratio}


# --- the whole loss -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tokens:
    """A micro-batch's trained tokens, all of shape N. `old` is the policy before the update, `reference` where KL is
    used; `logprobs` and `entropy` carry the gradient.
    """

    logprobs: Tensor
    entropy: Tensor
    old: Tensor
    sampler: Tensor
    reference: Tensor | None
    advantages: Tensor
    token_weights: Tensor
    rows: Tensor


def policy_loss(tokens: Tokens, config: Loss) -> tuple[Tensor, dict[str, Tensor]]:
    """Return this micro-batch's part of the update's loss, and per-token values for the metrics (no gradient)."""
    ratio_N = _RATIOS[config.ratio](tokens.logprobs, tokens.old, tokens.rows)
    objective_N = clipped(ratio_N, tokens.advantages, config.clip_low, config.clip_high, config.dual_clip)
    seen = {"ratio/mean": ratio_N, **_clips(ratio_N, tokens.advantages, config)}
    if config.correction is not None:
        weight_N = importance(tokens.old, tokens.sampler, tokens.rows, config.correction)
        objective_N = objective_N * weight_N
        beyond_N = (weight_N == 0) | (weight_N >= config.correction.limit)
        seen |= {"correction/mean": weight_N, "correction/limited": beyond_N.float()}
    if config.kl is not None and tokens.reference is not None:
        kl_N = KL[config.kl.estimator](tokens.logprobs, tokens.reference)
        seen["kl/reference"] = kl_N
        objective_N = objective_N - config.kl.coefficient * (kl_N * ratio_N if config.kl.weighted else kl_N)
    if config.entropy:
        objective_N = objective_N + config.entropy * tokens.entropy
    loss = -(objective_N * tokens.token_weights).sum()
    return loss, {name: values.detach() for name, values in seen.items()}


def _clips(ratio_N: Tensor, advantages_N: Tensor, config: Loss) -> dict[str, Tensor]:
    """Return for each side 1 at the tokens where its clip is in force, else 0; "clip/dual" is that for the second
    bound."""
    low_N = (ratio_N < 1.0 - config.clip_low) & (advantages_N < 0)
    high_N = (ratio_N > 1.0 + config.clip_high) & (advantages_N > 0)
    clips = {"clip/low": low_N.float(), "clip/high": high_N.float()}
    if config.dual_clip is not None:
        clips["clip/dual"] = ((ratio_N > config.dual_clip) & (advantages_N < 0)).float()
    return clips


def negative_log_likelihood(logprobs_N: Tensor, token_weights_N: Tensor) -> Tensor:
    """Return this micro-batch's part of the mean negative log-likelihood."""
    return -(logprobs_N * token_weights_N).sum()
