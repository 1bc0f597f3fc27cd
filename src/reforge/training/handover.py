"""The policy as it is handed to the samplers: a folder, and canary sequences with what the learner finds for them, so
that a sampler is believed only when it finds the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from reforge.batches import Row, build_batch
from reforge.policy.learner import Learner
from reforge.policy.model import Inputs
from reforge.policy.ranks import everyone
from reforge.rollouts.sampler import Weights

_CANARIES = "canaries.json"


def publish(
    learner: Learner, folder: Path, version: int, canaries: Sequence[Sequence[int]], worn: Path | None = None
) -> Weights:
    """The learner's policy as `version`, in a folder of its own in `folder`; that of `worn`, a version that nobody
    needs any more, where it can be."""
    place = folder_of(folder, version)
    shutil.rmtree(place, ignore_errors=True)
    everyone(Learner.save_model, learner, place, worn)
    logprobs = [found.tolist() for found in everyone(score, learner, canaries)]
    weights = Weights(version, place, [list(ids) for ids in canaries], logprobs)
    (place / _CANARIES).write_text(json.dumps({"ids": weights.canaries, "logprobs": logprobs}))
    return weights


def published(folder: Path, version: int) -> Weights:
    """What `publish` wrote."""
    place = folder_of(folder, version)
    canaries = json.loads((place / _CANARIES).read_text())
    return Weights(version, place, canaries["ids"], canaries["logprobs"])


def folder_of(folder: Path, version: int) -> Path:
    return folder / f"{version:06d}"


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
