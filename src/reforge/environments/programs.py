"""Find the program in a completion, in fenced code blocks as CommonMark reads them, and as models write them.

Beyond CommonMark: a fence may follow words on its line, the closing one may follow code or be followed by words, and a
fence with the name of a language opens a block even where the one before was never closed.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from reforge.sandbox.asserts import parsed

# What stands before a fence (list markers, quotes, words), the fence, what stands after it.
_FENCE = re.compile(r"(.*?)(`{3,}|~{3,})(.*)", re.DOTALL)
_MARKERS = re.compile(r"(?:[ \t]*(?:[-*+]|\d{1,9}[.)]|>)(?=[ \t]|$))*[ \t]*")
_QUOTES = re.compile(r"(?:[ \t]{0,3}> ?)+")
_TAG = re.compile(r"\{?\.?([A-Za-z][\w+#.-]*)")
_PYTHON = re.compile(r"py(py|thon)?[\d.-]*", re.IGNORECASE)
_KNOWN = (
    "bash c console cpp c++ csharp go haskell html input java javascript js json julia kotlin latex "
    "markdown md none output plain plaintext py py3 python python2 python3 r ruby rust sh shell sql swift "
    "text txt typescript xml yaml zsh"
)
_LANGUAGES = frozenset(_KNOWN.split(" "))
_READ = 1 << 15  # characters of the longest block that is parsed to see if it is Python; a longer one counts as Python


def extract_program(answer: str, entry_point: str = "") -> str | None:
    """Return the last Python block of an answer; where there is an entry point, the last that defines it, if any does.
    None where there is no closed one.

    A block without a tag is Python if it reads as Python that does something, so that an example of the output is none;
    where no block has a tag or does anything, the last one counts.
    """
    blocks = [block for block in _blocks(answer) if _perhaps_python(block.tag)]
    last: str | None = None
    for block in reversed(blocks):
        if block.tag or _acts(block.code):
            if not entry_point or _defines(block.code, entry_point):
                return block.code
            last = block.code if last is None else last
    return last if last is not None or not blocks else blocks[-1].code


@dataclass(frozen=True)
class _Block:
    tag: str  # the name of the language, without what follows it
    code: str


@dataclass(frozen=True)
class _Opening:
    fence: str
    tag: str
    indent: int
    quoted: bool


def _blocks(text: str) -> list[_Block]:
    """Return all closed blocks, in linear time: each line is read once, and the start of a block is parsed at most
    once."""
    found: list[_Block] = []
    opening: _Opening | None = None
    lines: list[str] = []
    tried = False  # whether a line of code that ends with a fence has been tried as the last one
    for line in (f"{line}\n" for line in text.split("\n")):
        if opening is None:
            opening, lines, tried = _opening(line), [], False
            continue
        if opening.quoted:
            line = _QUOTES.sub("", line, count=1)
        before, after = _split(line, opening)
        if after is None:
            lines.append(line)
        elif not before.strip():
            again = _opening(line)
            if again is not None and after.strip().lower() in _LANGUAGES:
                opening, lines, tried = again, [], False
            else:
                found.append(_block(opening, lines))
                opening = None
        elif not after.strip() and not tried:
            tried = True
            if not _perhaps_python(opening.tag) or _parsed("".join([*lines, before])) is not None:
                found.append(_block(opening, [*lines, f"{before.rstrip()}\n"]))
                opening = None
            else:
                lines.append(line)
        else:
            lines.append(line)
    return found


def _opening(line: str) -> _Opening | None:
    match = _FENCE.fullmatch(line.rstrip())
    if match is None:
        return None
    before, fence, after = match.groups()
    if fence[0] in after:  # inline code
        return None
    tag = _TAG.match(after.strip())
    indent = len(before) if _MARKERS.fullmatch(before) else 0
    announced = after.strip().lower() in _LANGUAGES or (not after.strip() and before.rstrip().endswith(":"))
    if before.strip() and not indent and not announced:
        return None  # prose that mentions a fence
    return _Opening(fence, tag[1] if tag else "", indent, ">" in before[:indent])


def _split(line: str, opening: _Opening) -> tuple[str, str | None]:
    """Return what stands before and after a fence that may close the block, in a line inside it; without such a fence,
    the line and None."""
    kind = opening.fence[0]
    at = line.find(opening.fence)
    if at < 0:
        return line, None
    before, after = line[:at], line[at:].lstrip(kind)
    if kind in after:
        return line, None
    if not before.strip() and len(before) > opening.indent + 3:
        return line, None  # four columns deeper: part of the code, as in a docstring
    return before, after


def _block(opening: _Opening, lines: list[str]) -> _Block:
    """Return the block of `lines` without the indentation of the opening fence, which is the list's, not the code's."""
    filled = [line for line in lines if line.strip()]
    shift = min([opening.indent, *(len(line) - len(line.lstrip(" \t")) for line in filled)])
    return _Block(opening.tag, "".join(line[shift:] if line.strip() else line.lstrip(" \t") for line in lines))


def _perhaps_python(tag: str) -> bool:
    return not tag or _PYTHON.fullmatch(tag) is not None


def _parsed(code: str) -> ast.Module | None:
    return ast.Module([], []) if len(code) > _READ else parsed(code)


def _acts(code: str) -> bool:
    """Return whether the code is Python and does more than state a value, as the output of a program may look."""
    tree = _parsed(code)
    doing = (ast.Call, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return tree is not None and (len(code) > _READ or any(isinstance(node, doing) for node in ast.walk(tree)))


def _defines(code: str, entry_point: str) -> bool:
    """Return whether the code defines this function, class, `Class.method` or name. It is read from the text, so that a
    program with an error in it is still the one that was meant."""
    owner, _, name = entry_point.rpartition(".")
    defined = (
        rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(name)}\b|^{re.escape(name)}[ \t]*(?::[^=\n]*)?=(?!=)"
    )
    kinds = [defined, rf"^[ \t]*class[ \t]+{re.escape(owner)}\b"] if owner else [defined]
    return all(re.search(kind, code, re.MULTILINE) for kind in kinds)
