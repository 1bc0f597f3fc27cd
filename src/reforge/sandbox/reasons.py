"""Make what a program says about itself fit for a verdict: short, encodable, and the same each time it is said.

This is the one point at which words cross from a program. They are cut before anything else looks at them.
"""

from __future__ import annotations

import re

LONGEST = 300  # characters kept
_READ = 4 * LONGEST  # characters looked at: what is left out below makes a text shorter
# What no store, protocol or terminal takes as it is: surrogates and control characters other than tab and newline.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ADDRESS = re.compile("0x[0-9a-fA-F]{6,}")
_WORD = re.compile(r"[^\s'\"]+")
_FOLDER = re.compile(r"/reforge-\w+")


def fit(reason: str) -> str:
    """Return the reason's beginning without what differs each time: addresses of objects and the names of temporary
    folders."""
    steady = _ADDRESS.sub("0x…", _UNFIT.sub("\ufffd", reason[:_READ]))
    return _WORD.sub(_without_folder, steady)[:LONGEST]


def _without_folder(word: re.Match[str]) -> str:
    """Return a word without the path to its last temporary folder. Each character is looked at a few times at most."""
    text = word.group()
    at = text.rfind("/reforge-")
    folder = _FOLDER.match(text, at) if at >= 0 else None
    return text if folder is None else f"{text[: text.index('/')]}…{text[folder.end() :]}"
