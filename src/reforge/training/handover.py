"""The policy as it is handed to the samplers: a folder, and canary sequences with what the learner finds for them, so
that a sampler is believed only when it finds the same.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import torch

from reforge.errors import UserError
from reforge.policy.batches import Inputs, Row, build_batch
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone
from reforge.rollouts.protocol import named
from reforge.rollouts.sampler import Weights

_CANARIES = "canaries.json"
Logprobs = tuple[list[list[float]], list[list[float]]]


def publish(
    learner: Learner,
    folder: Path,
    version: int,
    canaries: Sequence[Sequence[int]],
    worn: Path | None = None,
    temperature: float = 1.0,
) -> Weights:
    """Write the learner's policy as `version` to a folder of its own in `folder`. It reuses the files of the retired
    version `worn` if names, shapes and types match. `temperature` is that which its rollouts are drawn at. Raises
    UserError where the policy is not finite: nothing is to be drawn from it, and it must not become a checkpoint."""
    place = folder_of(folder, version)
    shutil.rmtree(place, ignore_errors=True)
    everyone(Learner.save_model, learner, place, worn)
    logprobs, next_logprobs = everyone(_logprobs, learner, canaries, temperature)
    weights = Weights(version, place, [list(ids) for ids in canaries], logprobs, temperature, next_logprobs)
    require_finite(weights)
    kept = {"logprobs": logprobs, "temperature": temperature, "next_logprobs": next_logprobs}
    (place / _CANARIES).write_text(json.dumps({"ids": weights.canaries, **kept}))
    return weights


def require_finite(weights: Weights) -> None:
    if not all(map(math.isfinite, chain(*weights.logprobs, *weights.next_logprobs))):
        raise UserError(
            f"Policy version {weights.version}, in {weights.folder}, is not finite: some of its log-probs are NaN or "
            "infinite, so a weight is. Nothing is drawn from it. The last checkpoint is from before it: lower the "
            "learning rate or learner.gradient_clip, and the same command goes on from there."
        )


def published(folder: Path, version: int) -> Weights:
    """Return what `publish` wrote for `version`."""
    place = folder_of(folder, version)
    canaries = json.loads((place / _CANARIES).read_text())
    rest = canaries["temperature"], canaries["next_logprobs"]
    return Weights(version, place, canaries["ids"], canaries["logprobs"], *rest)


def folder_of(folder: Path, version: int) -> Path:
    return folder / f"{version:06d}"


def _logprobs(learner: Learner, sequences: Sequence[Sequence[int]], temperature: float) -> Logprobs:
    """Return the log-probs of the sequences. Every rank computes all: under ZeRO-3 none may stay away."""
    return sequence_logprobs(learner.logprobs, sequences, temperature)


@torch.no_grad()
def sequence_logprobs(
    logprobs: Callable[[Inputs, float], tuple[torch.Tensor, torch.Tensor]],
    sequences: Sequence[Sequence[int]],
    temperature: float,
) -> Logprobs:
    """Return log-probs by the policy that `logprobs` runs: of each token but the first, at temperature 1; and of the
    tokens that `named` picks for each sequence, as the one after it, at `temperature`."""
    given, following = [], []
    for ids in sequences:
        (micro,) = build_batch([Row(tuple(ids[:1]), tuple(ids[1:]))], len(ids)).micro_batches
        given.append(logprobs(micro.inputs, 1.0)[0].tolist())
        after = [Row(tuple(ids), (token,)) for token in named(ids)]  # these share their prompt, which is computed once
        (micro,) = build_batch(after, 4 * (len(ids) + len(after))).micro_batches
        following.append(logprobs(micro.inputs, temperature)[0].tolist())
    return given, following
