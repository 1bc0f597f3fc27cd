"""Where a text that works something out has its final answer."""

from __future__ import annotations

_BOX = "\\boxed{"


def boxed(text: str) -> str | None:
    """What the last `\\boxed{…}` holds; None where there is none, or none that is closed. In linear time."""
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth, begin = 1, start + len(_BOX)
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin:at].strip()
    return None
