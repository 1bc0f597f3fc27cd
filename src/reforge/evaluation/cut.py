"""One draw at the longest limit serves every shorter one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from reforge.records import Rollout


def cut(rollout: Rollout, max_tokens: int, decode: Callable[[Sequence[int]], str]) -> Rollout:
    """Return the rollout as it would have been drawn with `max_tokens`: with the same seed a shorter limit stops the
    same token stream earlier, so its first tokens are exactly the shorter rollout."""
    if len(rollout.token_ids) <= max_tokens:
        return rollout
    token_ids = rollout.token_ids[:max_tokens]
    return replace(
        rollout,
        token_ids=token_ids,
        logprobs=rollout.logprobs[:max_tokens],
        policy_versions=rollout.policy_versions[:max_tokens],
        finish_reason="length",
        text=decode(token_ids),
    )
