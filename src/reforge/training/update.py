"""One batch → one optimiser step, on every rank, and metrics over all of them.

These functions are given to `ranks.everyone`: each rank works on its share of the micro-batches, and all see the same
totals, so all decide alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import distributed

from reforge.config.training import Guards, Loss
from reforge.objective.losses import Tokens, negative_log_likelihood, policy_loss
from reforge.policy.batches import Batch, MicroBatch
from reforge.policy.learner import Learner


@dataclass(frozen=True)
class Objective:
    """All that a rank has to know of an update."""

    loss: Loss
    temperature: float
    learning_rate: float
    gradient_clip: float
    guards: Guards


@dataclass
class Seen:
    """Sums and maxima over the trained tokens of an update; rows that only fill up a batch (weight 0) do not count."""

    sums: dict[str, float] = field(default_factory=dict)
    maxima: dict[str, float] = field(default_factory=dict)

    def add(self, values: dict[str, torch.Tensor], token_weights_N: torch.Tensor) -> None:
        for name, values_N in values.items():
            total = float(values_N.where(token_weights_N > 0, 0.0).sum())
            self.sums[name] = self.sums.get(name, 0.0) + total

    def raise_to(self, name: str, values_N: torch.Tensor, token_weights_N: torch.Tensor) -> None:
        found = float(values_N.where(token_weights_N > 0, 0.0).max())
        self.maxima[name] = max(self.maxima.get(name, 0.0), found) if found == found else math.inf

    def over_ranks(self, learner: Learner) -> None:
        for values, how in ((self.sums, distributed.ReduceOp.SUM), (self.maxima, distributed.ReduceOp.MAX)):
            if values and distributed.get_world_size() > 1:
                tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=learner.device)
                distributed.all_reduce(tensor, how)
                if how is distributed.ReduceOp.SUM:
                    tensor /= learner.config.sequence_parallel  # ranks that share a micro-batch all counted it
                values.update(zip(values, tensor.tolist(), strict=True))


@dataclass(frozen=True)
class Unmade:
    """An optimiser step that must not be made, and why. `wrong_sampler`: that is the sampler's doing, not the
    learner's."""

    why: str
    loss: float
    norm: float
    wrong_sampler: bool = False


def update(learner: Learner, batches: Sequence[Batch], objective: Objective) -> tuple[dict[str, float], list[Unmade]]:
    """Make an optimiser step for each batch. Return metrics, which are means over all trained tokens, and the steps not
    made."""
    # The first batch is on-policy by construction; later ones need the log-probs from before its step.
    old = [
        _old_logprobs(learner, batch, objective.temperature) if number else None for number, batch in enumerate(batches)
    ]
    seen, norms, bad = Seen(), list[float](), list[Unmade]()
    for batch, old_logprobs in zip(batches, old, strict=True):
        now = Seen()
        _accumulate(learner, batch, old_logprobs, objective, now)
        now.over_ranks(learner)
        norm = learner.gradient_norm()
        problem = _problem(now, norm, objective.guards)
        if problem is not None:
            learner.discard()
            bad.append(problem)
            continue
        learner.step(objective.learning_rate)
        norms.append(norm)
        _merge(seen, now)
    return _metrics(seen, norms, objective.gradient_clip, bad), bad


def _metrics(seen: Seen, norms: Sequence[float], gradient_clip: float, bad: Sequence[Unmade]) -> dict[str, float]:
    """Return means over tokens, and over updates for loss and gradient. Where no update was made, loss and gradient are
    those of the last that was not: they show why."""
    made = len(norms)
    if not made:
        why = {"loss": bad[-1].loss, "grad_norm": bad[-1].norm} if bad else {}
        return {"updates": 0.0, "tokens/trained": 0.0, **why}
    tokens, loss = seen.sums.pop("tokens"), seen.sums.pop("loss")
    return {name: total / tokens for name, total in seen.sums.items()} | {
        **seen.maxima,
        "loss": loss / made,
        "grad_norm": sum(norms) / made,
        "grad_clipped": sum(norm > gradient_clip for norm in norms) / made,
        "updates": float(made),
        "tokens/trained": tokens,
    }


def _accumulate(
    learner: Learner, batch: Batch, old: list[torch.Tensor] | None, objective: Objective, seen: Seen
) -> None:
    share = learner.share(batch.micro_batches)
    for number, micro in enumerate(share):
        logprobs_N, entropy_N = learner.logprobs(micro.inputs, objective.temperature)
        old_N = logprobs_N.detach() if old is None else old[number]
        tokens = _tokens(learner, micro, logprobs_N, entropy_N, old_N, objective)
        loss, values = policy_loss(tokens, objective.loss)
        learner.backward(loss, last=number == len(share) - 1)
        gap_N = tokens.sampler - tokens.old
        values |= {
            "entropy": entropy_N.detach(),
            "gap/mean": gap_N,
            "gap/k3": (-gap_N).exp() + gap_N - 1.0,
            "kl/old": tokens.old - logprobs_N.detach(),
            "tokens": torch.ones_like(gap_N),
        }
        seen.add(values, tokens.token_weights)
        seen.raise_to("ratio/max", values["ratio/mean"], tokens.token_weights)
        seen.raise_to("gap/max", gap_N.abs(), tokens.token_weights)
        seen.sums["loss"] = seen.sums.get("loss", 0.0) + float(loss.detach())


def _tokens(
    learner: Learner,
    micro: MicroBatch,
    logprobs_N: torch.Tensor,
    entropy_N: torch.Tensor,
    old_N: torch.Tensor,
    objective: Objective,
) -> Tokens:
    place: Any = logprobs_N.device
    reference_N = None
    if objective.loss.kl is not None:
        reference_N = learner.reference_logprobs(micro.inputs, objective.temperature)
    return Tokens(
        logprobs=logprobs_N,
        entropy=entropy_N,
        old=old_N,
        sampler=micro.sampler_logprobs_N.to(place),
        reference=reference_N,
        advantages=micro.advantages_N.to(place),
        token_weights=micro.token_weights_N.to(place),
        rows=micro.rows_N.to(place),
    )


@torch.no_grad()
def _old_logprobs(learner: Learner, batch: Batch, temperature: float) -> list[torch.Tensor]:
    return [learner.logprobs(micro.inputs, temperature)[0] for micro in learner.share(batch.micro_batches)]


def _problem(seen: Seen, norm: float, guards: Guards) -> Unmade | None:
    """Return why this step must not be made; None where it may."""
    loss, ratio = seen.sums["loss"], seen.maxima["ratio/max"]
    gap = seen.sums["gap/k3"] / max(1.0, seen.sums["tokens"])
    if not math.isfinite(seen.sums["kl/old"]):  # these are the learner's own, so the gap is not the sampler's doing
        return Unmade("the policy's log-probs are not finite", loss, norm)
    if not gap <= guards.gap:
        return Unmade(f"gap/k3 is {gap:.3g} nats per token (rl.*.guards.gap = {guards.gap:g})", loss, norm, True)
    if not math.isfinite(loss):
        return Unmade(f"the loss is {loss:g}", loss, norm)
    if not math.isfinite(norm):
        return Unmade(f"the norm of the gradient is {norm:g}", loss, norm)
    if ratio > guards.ratio:
        named = f"rl.*.guards.ratio = {guards.ratio:g}"
        return Unmade(
            f"a token (or a rollout, see loss.ratio) became {ratio:.3g} times as probable ({named})", loss, norm
        )
    return None


def _merge(seen: Seen, more: Seen) -> None:
    for name, value in more.sums.items():
        seen.sums[name] = seen.sums.get(name, 0.0) + value
    for name, value in more.maxima.items():
        seen.maxima[name] = max(seen.maxima.get(name, value), value)


@torch.no_grad()
def agreement(learner: Learner, batch: Batch) -> tuple[float, float]:
    """Return the weighted mean negative log-likelihood and probability of the batch's tokens."""
    seen = Seen({"loss": 0.0, "probability": 0.0})
    for micro in learner.share(batch.micro_batches):
        logprobs_N, _ = learner.logprobs(micro.inputs, 1.0)
        token_weights_N = micro.token_weights_N.to(logprobs_N.device)
        seen.sums["loss"] += float(negative_log_likelihood(logprobs_N, token_weights_N))
        seen.sums["probability"] += float((logprobs_N.exp() * token_weights_N).sum())
    seen.over_ranks(learner)
    return seen.sums["loss"], seen.sums["probability"]


def imitate(learner: Learner, batch: Batch, learning_rate: float) -> tuple[float, float]:
    """Make a step of supervised learning. Return (mean negative log-likelihood, norm of the gradient); no step is made
    where one of them is not finite."""
    seen = Seen({"loss": 0.0})
    share = learner.share(batch.micro_batches)
    for number, micro in enumerate(share):
        logprobs_N, _ = learner.logprobs(micro.inputs, 1.0)
        loss = negative_log_likelihood(logprobs_N, micro.token_weights_N.to(logprobs_N.device))
        learner.backward(loss, last=number == len(share) - 1)
        seen.sums["loss"] += float(loss.detach())
    seen.over_ranks(learner)
    norm = learner.gradient_norm()
    if math.isfinite(seen.sums["loss"]) and math.isfinite(norm):
        learner.step(learning_rate)
    else:
        learner.discard()
    return seen.sums["loss"], norm
