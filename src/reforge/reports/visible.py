"""Make untrusted text safe to display."""

from __future__ import annotations

import unicodedata


def visible(text: str, limit: int = 4000) -> str:
    """Return at most `limit` characters of an untrusted text: what a browser would not show, or would let reorder the
    page, is spelled out."""
    shown = "".join(c if c.isprintable() or c == "\n" else _spelled(c) for c in text[:limit])
    return shown + (f"\n… {len(text) - limit} more characters" if len(text) > limit else "")


def _spelled(character: str) -> str:
    if character == "\t":
        return "    "
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()
