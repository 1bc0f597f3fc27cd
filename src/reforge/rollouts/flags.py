"""The flags that a vLLM server must run with. A wrong one is an error by name: most of them would change no answer that
anybody sees, and train on log-probs of a different distribution all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROMPT_ROOM = 65536  # tokens prefilled in one engine step: a seeded prompt must never be split (CPU engine dies)
Flags = Mapping[str, Any]  # a flag's name on vLLM's command line → its value

# The flags that are wanted whatever the model and the machine are.
ALWAYS: dict[str, Any] = {
    "logprobs-mode": "processed_logprobs",  # after the temperature, as the learner computes them
    "generation-config": "vllm",  # the model folder's own sampling defaults must not slip in
    "enable-prefix-caching": False,  # it would use keys and values of older weights
    "enable-chunked-prefill": False,
    "speculative-config": None,
    "seed": 0,
}


def flags_of(config: Any) -> dict[str, Any]:
    """Return the flags of a running engine (vLLM's VllmConfig)."""
    model, scheduler = config.model_config, config.scheduler_config
    return {
        "logprobs-mode": str(model.logprobs_mode),
        "generation-config": model.generation_config,
        "enable-prefix-caching": bool(config.cache_config.enable_prefix_caching),
        "enable-chunked-prefill": bool(scheduler.enable_chunked_prefill),
        "speculative-config": None if config.speculative_config is None else "some",
        "seed": model.seed,
        "dtype": str(model.dtype).removeprefix("torch."),
        "max-num-batched-tokens": scheduler.max_num_batched_tokens,
        "max-model-len": model.max_model_len,
    }


def wrong(flags: Flags, wanted: Flags = ALWAYS) -> list[str]:
    """Return each flag with a wrong value, as text: its name, that value, and what is wanted."""
    found = [
        f"{name} is {flags.get(name)}, and {value} is wanted"
        for name, value in wanted.items()
        if name not in flags or flags[name] != value
    ]
    # vLLM itself lowers this flag for models with latent attention: room for one whole prompt is enough.
    room, longest = flags.get("max-num-batched-tokens"), flags.get("max-model-len")
    if room is None or longest is None or room < longest:
        found.append(f"max-num-batched-tokens is {room}, and at least {longest or 'max-model-len'} is wanted")
    return found
