"""New weights to the sampler, believed only when its log-probs say so.

A reload that reports success can still leave old or mixed weights in the engine (a packed copy of a tied lm_head, a
stale prefix cache), and nothing downstream would notice: rewards only get slowly worse. So a few canary sequences are
scored by both sides after every update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from reforge.errors import InfrastructureError
from reforge.policy.learner import Learner
from reforge.rollouts.sampler import Sampler

# (ids_BT, mask_BT, temperature) → (logprobs_N, entropy_N), as Learner.logprobs and TokenLogprobs
Logprobs = Callable[[torch.Tensor, torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]


def hand_over(
    learner: Learner, sampler: Sampler, folder: Path, version: int, canaries: Sequence[Sequence[int]], tolerance: float
) -> float:
    """Write the policy to `folder`, load it into the sampler as `version`; return the largest |Δ log p| seen.

    Raises InfrastructureError when it exceeds `tolerance`.
    """
    learner.save_model(folder)
    sampler.load_weights(str(folder), version)
    return check_parity(learner.logprobs, sampler, canaries, tolerance)


def check_parity(logprobs: Logprobs, sampler: Sampler, canaries: Sequence[Sequence[int]], tolerance: float) -> float:
    """The largest |Δ log p| of a policy and the sampler. Raises InfrastructureError when it exceeds `tolerance`."""
    gap = parity_gap(logprobs, sampler, canaries)
    if not gap <= tolerance:
        raise InfrastructureError(
            f"The sampler was given policy version {sampler.policy_version}, but its log-probs differ from the "
            f"learner's by up to {gap:.2e}, more than sampler.parity_tolerance = {tolerance:.0e}: it is not running "
            "the weights it was given. The stage was stopped before it could sample from them; start it again, and it "
            "resumes from its last checkpoint."
        )
    return gap


@torch.no_grad()
def parity_gap(logprobs: Logprobs, sampler: Sampler, canaries: Sequence[Sequence[int]]) -> float:
    """max |Δ log p| over all tokens of `canaries` and all servers; NaN counts as a gap without bound."""
    ours = [_score(logprobs, ids) for ids in canaries] * len(sampler.urls)
    theirs = sampler.canary_logprobs(canaries)
    gaps = [(mine - torch.tensor(other)).abs().max() for mine, other in zip(ours, theirs, strict=True)]
    worst = float(torch.stack(gaps).max())
    return worst if worst == worst else float("inf")


def _score(logprobs: Logprobs, ids: Sequence[int]) -> torch.Tensor:
    ids_BT = torch.tensor([list(ids)])
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[:, 0] = 0
    return logprobs(ids_BT, mask_BT, 1.0)[0].cpu()
