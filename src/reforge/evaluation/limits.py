"""One draw at the longest limit serves every shorter one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from reforge.types import Rollout


class Decoder(Protocol):
    def decode(self, token_ids: Sequence[int], **options: Any) -> str: ...


def cut(rollout: Rollout, max_tokens: int, tokenizer: Decoder) -> Rollout:
    """The rollout as it would have been drawn with `max_tokens`: with the same seed a shorter limit stops the same
    token stream earlier, so its first tokens are exactly the shorter rollout."""
    if len(rollout.token_ids) <= max_tokens:
        return rollout
    token_ids = rollout.token_ids[:max_tokens]
    return replace(
        rollout,
        token_ids=token_ids,
        logprobs=rollout.logprobs[:max_tokens],
        finish_reason="length",
        text=tokenizer.decode(token_ids, skip_special_tokens=True),
    )
