"""Check that every prompt fits into the model's context with the longest answer to it: else the answer is cut earlier
than its limit says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reforge.config import dotted
from reforge.config.section import Limit
from reforge.errors import UserError
from reforge.policy.examine import context_of


def require_room(folder: Path, name: str, limits: Sequence[Limit], prompts: Mapping[str, Sequence[int]]) -> None:
    """Raise UserError where the model in `folder` cannot hold what the stage `name` samples. `prompts`: the lengths in
    tokens of each side, in the order of the problems.
    """
    context, where = context_of(folder)
    for limit in limits:
        longest = max(prompts[limit.side][: limit.first], default=0)
        longest = longest if limit.prompt is None else min(longest, limit.prompt)
        if longest + limit.tokens > context:
            lower = f", or {dotted(name)}.max_prompt_tokens" if limit.prompt else ""
            raise UserError(
                f"{dotted(name)}.{limit.key} is {limit.tokens} and the longest prompt has {longest} tokens: together "
                f"more than {context}, which is {where}. Lower that limit{lower}, or curate.*.statement_characters, or "
                "raise the model's if it was trained for more."
            )


def room_for_prompts(folder: Path, max_tokens: int) -> int:
    """Return how many tokens a prompt may have beside the longest answer."""
    return context_of(folder)[0] - max_tokens
