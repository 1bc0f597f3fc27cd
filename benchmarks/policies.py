"""The tokenizer of a policy with random weights, for those who measure how fast and not how well."""

from __future__ import annotations

from typing import Any

from reforge.policy.tokenizer import train_tokenizer


def new_tokenizer(size: int) -> Any:
    """Return a tokenizer that is learned from numbers, and filled up to `size` tokens."""
    tokenizer = train_tokenizer([f"{a} {b}" for a in range(200) for b in range(20)], size)
    tokenizer.add_tokens([f"<{number}>" for number in range(len(tokenizer), size)])
    return tokenizer
