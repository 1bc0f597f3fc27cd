"""Find the last `\\boxed{}` answer in a text that works something out."""

from __future__ import annotations

import re

_COMMAND = re.compile(r"\\{1,2}(?:boxed|fbox)(?![A-Za-z])\s*")
_TOKEN = re.compile(rf"(?P<box>{_COMMAND.pattern})(?P<brace>\{{)?|\\.|[{{}}]", re.DOTALL)
# TeX boxes the one token that follows, models mean the whole number or command. A word is none of it: "in \boxed as
# asked".
_BARE = re.compile(r"[-+]?(?:\.?\d|\\(?!boxed|fbox)[A-Za-z])[^\s$]{0,200}|[A-Z](?![A-Za-z])")
_ENDING = re.compile(r"(?:[.,;:]|\\[)\]])+$")
_BLANK = re.compile(r"(?:\s|~|\\[ ,;:!])*")
_NESTED = 8  # boxes around a box that are taken off


def boxed(text: str) -> str | None:
    """Return what the last `\\boxed{…}` or `\\fbox{…}` holds, or the outermost box around it. Empty boxes, as in "I put
    it into \\boxed{}", do not count beside others. None where there is no box, or the last one is not closed. Takes
    linear time.
    """
    opened: list[int] = []  # where the content of each open brace begins; −1 where it is no box's
    boxes: list[tuple[int, int]] = []  # begin and end of the closed boxes, the inner before the outer
    last = -1
    for token in _TOKEN.finditer(text):
        if token["box"] is not None:
            bare = None if token["brace"] else _BARE.match(text, token.end())
            if bare is not None:
                last = bare.start()
                boxes.append((last, last + len(_ENDING.sub("", bare[0]))))
            elif token["brace"]:
                last = token.end()
                opened.append(last)
        elif token[0] == "{":
            opened.append(-1)
        elif token[0] == "}" and opened:
            begin = opened.pop()
            if begin >= 0:
                boxes.append((begin, token.start()))
    if not boxes or last in opened:
        return None
    filled = [(begin, end) for begin, end in boxes if _blank_until(text, begin) < end]
    if not filled:
        return ""
    last = max(begin for begin, _ in filled)
    begin, end = min((begin, end) for begin, end in filled if begin <= last < end)
    return _plain(text[begin:end])


def _blank_until(text: str, begin: int) -> int:
    found = _BLANK.match(text, begin)
    return begin if found is None else found.end()


def _plain(content: str) -> str:
    """Return the content without boxes, and without the braces that a box around everything leaves."""
    if _COMMAND.search(content) is None:
        return content.strip()
    content = _COMMAND.sub("", content).strip()
    for _ in range(_NESTED):
        if not _in_braces(content):
            break
        content = content[1:-1].strip()
    return content


def _in_braces(content: str) -> bool:
    depth = 0
    for token in _TOKEN.finditer(content):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.start() == len(content) - 1 and content[0] == "{"
    return False
