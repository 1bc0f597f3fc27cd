"""The sampler as a stage uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from reforge.policy.model import TokenLogprobs, load_model
from reforge.prompts import decoder
from reforge.rollouts.sampler import Sampler
from reforge.rollouts.server import open_sampler
from reforge.stages.contract import StageContext
from reforge.training.handover import check_parity, sequence_logprobs

_CANARY = 16  # tokens; any sequence tells one set of weights from another


@contextmanager
def sampler_of(ctx: StageContext, tokenizer: Any) -> Iterator[Sampler]:
    """A sampler with the weights of the stage's `model`. Servers that are not ours were given them by a request, so
    they are believed only after a parity check."""
    folder, config = ctx.dep("model"), ctx.cfg.sampler
    with open_sampler(folder, config, decoder(tokenizer), ctx.log_folder / "vllm.log") as sampler:
        if config.urls:
            canary = [number % len(tokenizer) for number in range(1, _CANARY)]
            network = TokenLogprobs(load_model(folder))
            score = partial(sequence_logprobs, lambda inputs, temperature: network(*inputs, temperature))
            check_parity(score, sampler, [canary], config.parity_tolerance)
        yield sampler
