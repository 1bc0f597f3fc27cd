"""New weights to the sampler, believed only when its log-probs say so.

A reload that reports success can still leave old or mixed weights in the engine (a packed copy of a tied lm_head, a
stale prefix cache), and nothing downstream would notice: rewards only get slowly worse. So a few canary sequences are
scored by both sides after every update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from reforge.batches import Row, build_batch
from reforge.errors import InfrastructureError
from reforge.policy.learner import Learner
from reforge.policy.model import Inputs
from reforge.policy.ranks import everyone
from reforge.rollouts.sampler import Sampler

# sequences of token ids → log-probs of all tokens but the first, each
Score = Callable[[Sequence[Sequence[int]]], list[torch.Tensor]]


def hand_over(
    learner: Learner, sampler: Sampler, folder: Path, version: int, canaries: Sequence[Sequence[int]], tolerance: float
) -> float:
    """Write the policy to `folder`, load it into the sampler as `version`; return the largest |Δ log p| seen.

    Raises InfrastructureError when it exceeds `tolerance`.
    """
    everyone(Learner.save_model, learner, folder)
    sampler.load_weights(str(folder), version)
    return check_parity(partial(everyone, score, learner), sampler, canaries, tolerance)


def check_parity(score: Score, sampler: Sampler, canaries: Sequence[Sequence[int]], tolerance: float) -> float:
    """The largest |Δ log p| of a policy and the sampler. Raises InfrastructureError when it exceeds `tolerance`."""
    gap = parity_gap(score, sampler, canaries)
    if not gap <= tolerance:
        raise InfrastructureError(
            f"The sampler was given policy version {sampler.policy_version}, but its log-probs differ from the "
            f"learner's by up to {gap:.2e}, more than sampler.parity_tolerance = {tolerance:.0e}: it is not running "
            "the weights it was given. The stage was stopped before it could sample from them; start it again, and it "
            "resumes from its last checkpoint."
        )
    return gap


def parity_gap(score: Score, sampler: Sampler, canaries: Sequence[Sequence[int]]) -> float:
    """max |Δ log p| over all tokens of `canaries` and all servers; NaN counts as a gap without bound."""
    ours = score(canaries) * len(sampler.urls)
    theirs = sampler.canary_logprobs(canaries)
    gaps = [(mine - torch.tensor(other)).abs().max() for mine, other in zip(ours, theirs, strict=True)]
    worst = float(torch.stack(gaps).max())
    return worst if worst == worst else float("inf")


def score(learner: Learner, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Log-probs of each token but the first. Every rank scores all: under ZeRO-3 none may stay away."""
    return sequence_logprobs(learner.logprobs, sequences)


@torch.no_grad()
def sequence_logprobs(
    logprobs: Callable[[Inputs, float], tuple[torch.Tensor, torch.Tensor]], sequences: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """By the policy that `logprobs` runs, at temperature 1."""
    scored = []
    for ids in sequences:
        (micro,) = build_batch([Row(tuple(ids[:1]), tuple(ids[1:]))], len(ids)).micro_batches
        scored.append(logprobs(micro.inputs, 1.0)[0].cpu())
    return scored
