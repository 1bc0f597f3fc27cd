"""Hidden states → log-probs and entropies of chosen tokens, without ever holding the logits of all of them.

With a vocabulary of 152K, the logits of one 32K rollout alone are 20 GB (TRL#3678). Here they are computed for a few
rows at a time, and, where keeping them would cost much, again in the backward pass: one matrix product more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

_LOGITS = 2**19  # logits held at a time: they stay in the processor's cache
_KEPT = 2**23  # logits kept for the backward pass at most: 32 MB, so with a small vocabulary nothing is computed twice
_ROWS = 64  # rows computed at a time at least, or reading the weights takes longer than using them
_UNSTEADY = range(5, 12)  # rows of a product that depends on the number of threads (measured: MKL 2024.2, float32)


class LogprobHead(nn.Module):
    """The head that computes log-probs with the weights of a model's output layer. It is a module of its own, so that
    ZeRO-3 gathers them for it."""

    def __init__(self, output: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = output.weight, output.bias

    def forward(
        self, hidden_NH: torch.Tensor, ids_N: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (log p, entropy) of softmax(logits / temperature), float32, both with gradient."""
        apply: Any = _Chunked.apply
        logprobs_N, entropy_N = apply(hidden_NH, self.weight, self.bias, ids_N, temperature)
        return logprobs_N, entropy_N


class _Chunked(torch.autograd.Function):
    """The log-probs and entropies, computed for some rows at a time. Reductions over the vocabulary are in float32,
    whatever the weights are."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        ids_N: torch.Tensor,
        temperature: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logprobs_N = torch.empty(len(ids_N), device=hidden_NH.device)
        log_z_N, entropy_N = torch.empty_like(logprobs_N), torch.empty_like(logprobs_N)
        ctx.kept = [] if len(ids_N) * len(weight_VH) <= _KEPT else None
        for rows in _chunks(len(ids_N), len(weight_VH)):
            logits_CV = _logits(hidden_NH[rows], weight_VH, bias_V).float().div_(temperature)
            log_z_N[rows] = logits_CV.logsumexp(-1)
            log_p_CV = logits_CV.sub_(log_z_N[rows, None])
            logprobs_N[rows] = log_p_CV.gather(-1, ids_N[rows, None]).squeeze(-1)
            entropy_N[rows] = -log_p_CV.exp().mul_(log_p_CV).sum(-1)
            if ctx.kept is not None:
                ctx.kept.append(log_p_CV)
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, ids_N, log_z_N, entropy_N)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)
        return logprobs_N, entropy_N

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients, by ∂logp/∂logits = onehot − p and ∂H/∂logits = −p (log p + H), over the temperature."""
        hidden_NH, weight_VH, bias_V, ids_N, log_z_N, entropy_N = ctx.saved_tensors
        of_logprobs_N, of_entropy_N = gradients
        hidden_grad_NH = torch.zeros_like(hidden_NH)
        weight_grad_VH = torch.zeros_like(weight_VH, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        bias_grad_V = torch.zeros_like(bias_V, dtype=torch.float32) if bias_V is not None else None
        for number, rows in enumerate(_chunks(len(ids_N), len(weight_VH))):
            if ctx.kept is not None:
                log_p_CV = ctx.kept[number]
            else:
                logits_CV = _logits(hidden_NH[rows], weight_VH, bias_V).float().div_(ctx.temperature)
                log_p_CV = logits_CV.sub_(log_z_N[rows, None])
            factor: torch.Tensor | float = 0.0
            if of_logprobs_N is not None:
                factor = of_logprobs_N[rows, None]
            if of_entropy_N is not None:
                factor = (log_p_CV + entropy_N[rows, None]).mul_(of_entropy_N[rows, None]).add_(factor)
            grad_CV = log_p_CV.exp().mul_(factor).neg_()
            if of_logprobs_N is not None:
                grad_CV.scatter_add_(1, ids_N[rows, None], of_logprobs_N[rows, None])
            grad_CV.div_(ctx.temperature)
            if bias_grad_V is not None:
                bias_grad_V += grad_CV.sum(0)
            cast_CV = grad_CV.to(hidden_NH.dtype)
            hidden_grad_NH[rows] = _product(cast_CV, weight_VH)
            if weight_grad_VH is not None:
                weight_grad_VH += cast_CV.T @ hidden_NH[rows]
        cast = None if weight_grad_VH is None else weight_grad_VH.to(weight_VH.dtype)
        return hidden_grad_NH, cast, bias_grad_V, None, None


def _logits(hidden_CH: torch.Tensor, weight_VH: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
    logits_CV = _product(hidden_CH, weight_VH.T)
    return logits_CV if bias_V is None else logits_CV.add_(bias_V)


def _product(rows_CK: torch.Tensor, right_KN: torch.Tensor) -> torch.Tensor:
    """Return the matrix product, computed with more rows where it has few, as a last chunk may: MKL sums such a product
    in an order that depends on the number of threads. Last bits are enough for a training run to end differently."""
    count = len(rows_CK)
    if count not in _UNSTEADY:
        return rows_CK @ right_KN
    return (pad(rows_CK, (0, 0, 0, _UNSTEADY.stop - count)) @ right_KN)[:count]


def _chunks(rows: int, vocabulary: int) -> list[slice]:
    size = max(_ROWS, _LOGITS // vocabulary)
    return [slice(start, start + size) for start in range(0, rows, size)]
