"""Spell answers that are written in several ways in one way: signs, units, lists, intervals."""

from __future__ import annotations

import re
from typing import Any

_SIGNS = {
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "⁄": "/", "π": r"\pi ", "θ": r"\theta ", "≤": "<=",
    "≥": ">=", "≠": r"\ne ", "±": r"\pm ", "√": r"\sqrt ", "∪": r"\cup ", "∈": r"\in ", "≈": r"\approx ", "°": "",
    "∞": r"\infty ", "²": "^{2}", "³": "^{3}", "½": r"\frac{1}{2}", "\u200b": "", "\ufeff": "", "\xa0": " ",
}  # fmt: skip
_TEXT = r"\\(?:text|textbf|textit|textrm|textsf|mathrm|mathbf|mathit|mathsf|mbox|rm|operatorname)\s*\{([^{}]*)\}"
_REMOVED = re.compile(
    r"\\displaystyle|\\textstyle|\\left(?=[.|()\[\]\\])|\\right(?=[.|()\[\]\\])|\\[bB]ig+[lr]?(?=[|()\[\]\\])|\\!\s*"
    r"|\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree|\\[$€£]|[$€£]|\\\(|\\\)|\\[\[\]]"
)
_SAME: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(_TEXT), r" \1 "),
    (re.compile(r"\\(?:leq|leqslant)(?![A-Za-z])|<="), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:,|;|:|quad|qquad| )|~"), " "),
    (re.compile(r"\{\s*,\s*\}"), ","),
    (re.compile(r"(?<![\\A-Za-z])(pi|theta|alpha|beta|sqrt|infty)(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"^\*\*(.*)\*\*$"), r"\1"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\\?sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\d.,])(\d{1,3})((?: \d{3})+)(?![\d])"), lambda found: found[1] + found[2].replace(" ", "")),
    (re.compile(r"^(-?\d+) +(\d+) */ *(\d+)$"), r"\1\\frac{\2}{\3}"),
    (re.compile(r"\s+"), " "),
]  # fmt: skip
_UNITS = {
    "dollar": "$", "dollars": "$", "usd": "$", "cents": "cent", "percent": "%", "pct": "%", "percentage": "%",
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "inch": "in", "inches": "in", "foot": "ft", "feet": "ft", "mile": "mi", "second": "s",
    "sec": "s", "minute": "min", "hour": "h", "hr": "h", "kilogram": "kg", "gram": "g", "degree": "", "unit": "",
}  # fmt: skip
_SHORT = r"cm|km|mm|kg|mg|ft|in|hr|mi|ml|lb|oz|mph"
_MORE = r"(?:(?:\.? +|\s*/\s*)[A-Za-z]+)*\.?\s*(?:\^\s*\{?[23]\}?)?$"  # the rest of a unit, as in miles per hour
_UNIT = re.compile(rf"\s*(?:(?<=\d)(?:{_SHORT})|\s(?:{_SHORT}|[msghL]|[A-Za-z]{{3,}})){_MORE}")
NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d+)?(?<=\d)")
NAME = r"(?:\\?[A-Za-z|](?:\\?[A-Za-z |']|\{[\w |\\,+-]*\}|[_^]\w?)*(?:\([^()=]*\))?)"
ONE_NAME = re.compile(rf"\s*{NAME}\s*")
_JOINED = re.compile(r"\s*(?:,\s*)?(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])\s*|\s*;\s*")
_ORDER = re.compile(r"(<|\\le(?![A-Za-z])|>|\\ge(?![A-Za-z]))")
_SYSTEM = re.compile(r"\\?\{?\s*\\begin\{(array|cases|aligned)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}\s*\.?")


def clean(text: str) -> str:
    """Return the one spelling of what is written in several ways."""
    for sign, spelled in _SIGNS.items():
        text = text.replace(sign, spelled)
    text = re.sub(r"\\[dtc]frac", r"\\frac", text.strip().strip("`"))
    text = _REMOVED.sub("", text)
    for pattern, written in _SAME:
        text = pattern.sub(written, text)
    text = text.strip().rstrip(".,;:!? " if not re.search(r"\d\s*!+$", text) else "., ").strip()
    system = _SYSTEM.fullmatch(text)
    return as_point(system[2].replace("&", ""), r"\\") if system else text


def as_point(text: str, separator: str) -> str:
    """Return the point that named values give, in the order of the names; any other text as it is."""
    rows = [row.split("=") for row in text.split(separator)]
    if len(rows) < 2 or any(len(row) != 2 or not ONE_NAME.fullmatch(row[0]) for row in rows):
        return text
    return f"({','.join(value.strip() for _, value in sorted((name.strip(), value) for name, value in rows))})"


def parts(text: str) -> list[str]:
    """Return the items of a list without brackets. A comma in a number separates no items, unless there is a blank
    after it."""
    if NUMBER.fullmatch(text):
        return [text]
    parts, depth, begin = [], 0, 0
    text = _JOINED.sub(", ", text)
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return [part.strip() for part in [*parts, text[begin:]] if part.strip()]


def signed(text: str) -> list[str]:
    return [text.replace(r"\pm", sign) for sign in "+-"] if text.count(r"\pm") == 1 else [text]


def interval(text: str) -> str:
    """Return `a < x \\le b` as `(a,b]`, and several joined by `or` as their union; any other text as it is."""
    pieces = []
    for part in re.split(r"(?<![A-Za-z])or(?![A-Za-z])|,", text):
        said = [piece.strip() for piece in _ORDER.split(part)]
        if len(said) > 1 and said[1] in (">", r"\ge"):
            said = [{">": "<", r"\ge": r"\le"}.get(piece, piece) for piece in reversed(said)]
        if len(said) == 3:
            said = [r"-\infty", "<", *said] if said[0].isalpha() else [*said, "<", r"\infty"]
        if len(said) != 5 or not said[2].isalpha() or {said[1], said[3]} - {"<", r"\le"}:
            return text
        low, left, _, right, high = said
        pieces.append(f"{'(' if left == '<' else '['}{low},{high}{')' if right == '<' else ']'}")
    return r" \cup ".join(pieces)


def unit(text: str) -> tuple[str, str]:
    """Return the value and what it is measured in, in one spelling; that is empty where there is no unit."""
    percent = re.fullmatch(r"(.*?)\s*\\?%", text)
    if percent:
        return percent[1], "%"
    found = _UNIT.search(text)
    if found is None or not re.search(r"\d", text[: found.start()]):
        return text, ""
    word = found[0].casefold().strip(". ")
    spelled = _UNITS.get(word, _UNITS.get(word.removesuffix("s"), word.removesuffix("s")))
    return text[: found.start()].strip(), spelled


def tight(text: str) -> str:
    """Return the text without blanks, except between two numbers."""
    return re.sub(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])", "", text)
