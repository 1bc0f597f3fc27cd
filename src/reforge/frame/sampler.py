"""The sampler as a stage uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reforge.environments.template import Template
from reforge.frame.context import StageContext
from reforge.policy.model import TokenLogprobs, load_model
from reforge.rollouts.sampler import Sampler, Weights
from reforge.rollouts.server import open_sampler
from reforge.training.handover import require_finite, sequence_logprobs

_CANARY = 16  # the canary is one token shorter; any sequence tells one set of weights from another


@contextmanager
def sampler_of(ctx: StageContext, folder: Path, tokenizer: Any, temperature: float) -> Iterator[Sampler]:
    """Open a sampler with the weights of the model in `folder`, which is to draw at `temperature`."""
    config = ctx.cfg.sampler
    with open_sampler(folder, config, Template(tokenizer).decode, ctx.log_folder / "vllm.log") as sampler:
        if config.urls:
            canaries = [[number % len(tokenizer) for number in range(1, _CANARY)]]
            network = TokenLogprobs(load_model(folder))
            found = sequence_logprobs(lambda inputs, at: network(*inputs, at), canaries, temperature)
            weights = Weights(0, folder, canaries, found[0], temperature, found[1])
            require_finite(weights)
            sampler.load(weights)
        yield sampler
