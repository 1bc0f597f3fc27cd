"""Decide whether an answer says what the expected one says. This runs in the sandbox, as the checker of problems that
ask for an answer.

math-verify compares and latex2sympy reads. Here is what they leave out: which part of a text is the answer, that all of
it was read, that nothing is too large to be computed, and that two tiny numbers are not one.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from typing import Any

# mypy: disable-error-code="import-untyped"
import math_verify
from antlr4 import Token
from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy
from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
from math_verify.grader import should_treat_as_complex
from sympy import (
    Eq,
    Expr,
    Float,
    Integral,
    Limit,
    Pow,
    Product,
    Rational,
    Sum,
    binomial,
    factorial,
    postorder_traversal,
)

from reforge.problems.adapters.spelled import (
    NAME,
    NUMBER,
    ONE_NAME,
    as_point,
    clean,
    interval,
    parts,
    signed,
    tight,
    unit,
)

_SECONDS = 0.45  # CPU time for all of a comparison
_LONGEST = 1000  # characters; a longer answer must be the same text
_DEEPEST = 40  # levels of brackets in brackets
_LARGEST = 10_000  # the largest exponent, or number whose factorial is taken
_POINTS = (Rational(5, 11), Rational(-17, 7), Rational(101, 13))
_BASE = re.compile(r"([0-9A-Fa-f]+) ?_ ?\{? ?(\d+) ?\}?")
_NAMED = re.compile(rf"\s*(?:{NAME}|\({NAME}(?:,\s*{NAME})+\)|\d*\s*{NAME}(?:\s*[-+*/]\s*\d*\s*{NAME})+)\s*")
_EQUALS = re.compile(r"(?<![\\<>!:])=")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:(?: +|['-])[^\W\d_]{2,})*")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\{[a-z]*matrix\})?")
_SEVERAL = re.compile(r"(?<!_)(?<!_\d)\d\s+\d|[A-Za-z]{4,}")  # two numbers, or a word


class _TooLong(BaseException):
    """The error of a comparison that takes too long. It is no Exception, because sympy and math-verify catch those."""


def check(given: str, expected: str, answer: str) -> bool:
    """Return whether the answer says what the expected one says; False also where comparing them takes too long."""
    if expected.split() == answer.split() and answer.strip():
        return True
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS, 0.02)  # repeated, in case anybody catches the exception
    try:
        return max(len(expected), len(answer)) <= _LONGEST and _same(clean(expected), clean(answer))
    except (_TooLong, Exception):  # whatever a text does to a parser, it is no right answer
        return False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _stop(*_: object) -> None:
    raise _TooLong


def _same(gold: str, answer: str) -> bool:
    if not gold or not answer:
        return False
    if re.fullmatch(r"\(?[A-Z]\)?", gold):  # a choice, such as (B)
        return gold.strip("()") == answer.strip("()")
    if _WORDS.fullmatch(gold) and len(gold) > 3:  # `neve` is not `even`, whatever letters multiply to
        return gold.casefold().split() == re.sub(r"[()]", "", answer).casefold().split()
    exact, *rounded = answer.split(r"\approx")
    if rounded:
        answer = (rounded[-1] if "." in gold or ONE_NAME.fullmatch(exact) else exact).strip()
    gold, answer = (re.sub(rf"^{NAME}\s*\\in\s+(?=[\[({{\\])", "", text) for text in (gold, answer))
    gold, answer = (re.sub(r"^\\\{([^{}]*)\\\}$", r"\1", text) for text in (gold, answer))
    if re.search(r"[\[(].*,.*[\])]|\\cup|\\infty", gold) and not re.search(r"<|>|\\[lg]e", gold):
        answer = interval(answer)
    if gold.startswith("("):
        answer = as_point(answer, ",")
    golds, answers = ([part for joined in parts(text) for part in signed(joined)] for text in (gold, answer))
    if len(golds) == 1 == len(answers):
        return _one(gold, answer)
    if "=" in gold:
        return _one(", ".join(golds), ", ".join(answers))
    reduced = [_value(part, "?") if "=" in part else part for part in answers]
    if len(golds) != len(answers) or None in reduced:
        return False
    for wanted in golds:  # each must find a different one
        found = next((at for at, part in enumerate(reduced) if part is not None and _one(wanted, part)), None)
        if found is None:
            return False
        reduced[found] = None
    return True


def _one(gold: str, answer: str) -> bool:
    """Return whether two answers, each taken as a whole, say the same."""
    if "=" in answer and "=" not in gold:
        value = _value(answer, gold)
        return value is not None and _one(gold, value)
    if "=" in gold and "=" not in answer:
        name, *others = _EQUALS.split(gold)
        if len(others) == 1 and ONE_NAME.fullmatch(name):
            return _one(others[0].strip(), answer)
    gold_base, answer_base = _BASE.fullmatch(gold), _BASE.fullmatch(answer)
    if gold_base and answer_base:
        return gold_base.groups() == answer_base.groups()
    if gold_base or answer_base:  # the problem asks for a base: only a different one is wrong
        return (gold_base[1] if gold_base else gold) == (answer_base[1] if answer_base else answer)
    if tight(gold) == tight(answer):
        return True
    (gold, gold_unit), (answer, answer_unit) = unit(gold), unit(answer)
    if gold_unit and answer_unit and gold_unit != answer_unit:
        return False
    if _equal(gold, answer):
        return True
    if "%" in (gold_unit, answer_unit) and gold_unit != answer_unit:  # a sign on one side may also mean hundredths
        both = (gold, gold_unit), (answer, answer_unit)
        return _equal(*(rf"\frac{{{value}}}{{100}}" if unit else value for value, unit in both))
    return False


def _value(answer: str, gold: str) -> str | None:
    """Return the right-hand end of a chain of equations, if it holds as far as it can be computed, and names what it
    begins with; else None: `17 = 18` and `3x - 5 = 18` do not say 18."""
    *before, value = (part.strip() for part in _EQUALS.split(answer))
    for part in before:
        if re.search(r"[A-Za-z]", re.sub(r"\\(?:d?frac|sqrt|cdot|times|div|pi)(?![A-Za-z])", "", part)):
            if not (ONE_NAME if gold == "0" else _NAMED).fullmatch(part):
                return None
        elif not _equal(value, part):
            return None
    return value


def _equal(gold: str, answer: str) -> bool:
    if tight(gold) == tight(answer):
        return True
    numbers = [Fraction(text.replace(",", "")) if NUMBER.fullmatch(text) else None for text in (gold, answer)]
    if None not in numbers and (numbers[0] == numbers[1] or not ("." in gold or "." in answer)):
        return numbers[0] == numbers[1]
    if gold.count(":") or answer.count(":"):  # times of day and ratios
        pair = gold.split(":"), answer.split(":")
        return len(pair[0]) == len(pair[1]) and all(_equal(*parts) for parts in zip(*pair, strict=True))
    wanted, found = _read(gold), _read(answer)
    if wanted is None or found is None or _too_large(wanted) or _too_large(found):
        return False
    known = _decided(wanted, found)
    return bool(math_verify.verify(wanted, found, timeout_seconds=None)) if known is None else known


def _read(text: str) -> Any:
    """Return a sympy expression of the whole text; None where only a part of it can be read."""
    parsers: list[Any] = []

    class Reader(_Latex2Sympy):  # type: ignore[misc]
        def create_parser(self, latex_str: str) -> Any:
            parsers.append(super().create_parser(latex_str))
            return parsers[-1]

    depths = accumulate((letter in "([{") - (letter in ")]}") for letter in text)
    if max(depths, default=0) > _DEEPEST or _SEVERAL.search(_COMMAND.sub("#", text)):
        return None
    spelled = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    latex = normalize_latex(text, spelled)
    try:
        tree = Reader(is_real=not should_treat_as_complex(latex)).parse(latex)
    except Exception:
        return None
    return tree if all(parser.getTokenStream().LA(1) == Token.EOF for parser in parsers) else None


def _too_large(tree: Any) -> bool:
    """Return, without computing it, whether an expression holds what takes too long to compute."""
    for node in postorder_traversal(tree):  # the exponents of exponents come first
        if isinstance(node, Sum | Product | Integral | Limit):
            return True
        sizes = node.args[-1:] if isinstance(node, Pow) else node.args if isinstance(node, factorial | binomial) else ()
        if any(not size.free_symbols and not abs(size.evalf(6)) <= _LARGEST for size in sizes):
            return True
    return False


def _decided(one: Any, other: Any) -> bool | None:
    """Compare exactly for rational numbers, else by 50 digits, at three points where there are variables. math-verify
    is slower and takes what is below 1e-15 for zero; it decides the rest, for which this returns None: rounded numbers,
    sets, relations."""
    if isinstance(one, Eq) and isinstance(other, Eq):
        return True if _proportional(one.lhs - one.rhs, other.lhs - other.rhs) else None
    if not (isinstance(one, Expr) and isinstance(other, Expr)):
        parts = getattr(one, "args", ()), getattr(other, "args", ())
        ordered = type(one).__name__ in ("Tuple", "Interval") and len(parts[0]) == len(parts[1])
        return False if ordered and False in [_decided(*pair) for pair in zip(*parts, strict=True)] else None
    if not one.free_symbols | other.free_symbols:
        exact = one.doit(), other.doit()
        if exact[0].is_Rational and exact[1].is_Rational:
            return bool(exact[0] == exact[1])
    rounded = one.has(Float) or other.has(Float)
    for pair in _values(one, other):
        if pair is None:
            return None
        gap, size = abs(pair[0] - pair[1]).evalf(5), max(abs(value).evalf(5) for value in pair)
        if gap > size * (1e-5 if rounded else 1e-40):
            return False
        if gap > size * 1e-12:
            return None
    return True


def _proportional(one: Any, other: Any) -> bool:
    """Return whether one is a multiple of the other, as where `2x + 4y - 6 = 0` is `x + 2y = 3`."""
    ratios = [None if pair is None or not pair[1] else pair[0] / pair[1] for pair in _values(one, other)]
    first = ratios[0]
    if first is None:
        return False
    return all(ratio is not None and bool(abs(ratio - first) < abs(first) * 1e-30) for ratio in ratios)


def _values(one: Any, other: Any) -> Iterator[tuple[Any, Any] | None]:
    """Yield the values of both at each point; None where one has none."""
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    for start in _POINTS if symbols else _POINTS[:1]:
        at = {symbol: start + Rational(index * index + index, 3) for index, symbol in enumerate(symbols)}
        pair = one.subs(at).evalf(50), other.subs(at).evalf(50)
        known = (value.is_number and value.is_finite and getattr(value, "_prec", 0) != 1 for value in pair)
        yield pair if all(known) else None  # by a precision of 1 sympy says: zero as far as I can tell
