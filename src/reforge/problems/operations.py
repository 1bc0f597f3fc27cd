"""The vocabulary of generated problems: each operation is a line of Python about `x`, and ways to ask for it in words.

The same words can mean different code for a list, a string and a number ("reverse it"), so a solver has to keep
track of what `x` is by then: that is what the worked reasoning spells out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["list", "string", "number"]


@dataclass(frozen=True)
class Operation:
    """An operation on `x`. `{k}` in phrases and code stands for a small constant drawn per use; numbers stay
    non-negative throughout."""

    name: str
    takes: Kind
    gives: Kind
    phrases: tuple[str, ...]
    code: str

    @property
    def has_constant(self) -> bool:
        return "{k}" in self.code


def _same(kind: Kind, rows: list[tuple[str, str, str, str]]) -> list[Operation]:
    return [Operation(f"{kind}.{name}", kind, kind, (first, second), code) for name, first, second, code in rows]


_LIST = _same(
    "list",
    [
        ("even", "keep the even numbers", "drop the odd numbers", "x = [a for a in x if a % 2 == 0]"),
        ("odd", "keep the odd numbers", "drop the even numbers", "x = [a for a in x if a % 2 == 1]"),
        ("above", "keep the numbers above {k}", "keep what is greater than {k}", "x = [a for a in x if a > {k}]"),
        ("below", "keep the numbers below {k}", "keep what is less than {k}", "x = [a for a in x if a < {k}]"),
        ("rest", "drop the first", "remove the first one", "x = x[1:]"),
        ("most", "drop the last", "remove the last one", "x = x[:-1]"),
        ("first", "take the first {k}", "keep only the first {k}", "x = x[:{k}]"),
        ("last", "take the last {k}", "keep only the last {k}", "x = x[-{k}:]"),
        ("reverse", "reverse it", "turn it around", "x = x[::-1]"),
        ("sort", "sort it", "put it in ascending order", "x = sorted(x)"),
        ("descend", "sort it downwards", "put it in descending order", "x = sorted(x, reverse=True)"),
        ("unique", "remove repeats", "keep first occurrences only", "x = list(dict.fromkeys(x))"),
        ("add", "add {k} to each", "increase each by {k}", "x = [a + {k} for a in x]"),
        ("subtract", "subtract {k} from each", "decrease each by {k}", "x = [a - {k} for a in x]"),
        ("times", "multiply each by {k}", "scale each by {k}", "x = [a * {k} for a in x]"),
        ("mod", "take each modulo {k}", "replace each by its remainder by {k}", "x = [a % {k} for a in x]"),
        ("absolute", "take absolute values", "drop the minus signs", "x = [abs(a) for a in x]"),
        ("negate", "negate each", "flip the sign of each", "x = [-a for a in x]"),
        ("second", "take every second one", "skip every other one", "x = x[::2]"),
        ("rotate", "move the first to the end", "rotate left by one", "x = x[1:] + x[:1]"),
        ("twice", "append it to itself", "write it twice", "x = x + x"),
        ("differences", "take differences of neighbours", "subtract each from the next",
         "x = [b - a for a, b in zip(x, x[1:])]"),
    ],
)  # fmt: skip

_STRING = _same(
    "string",
    [
        ("reverse", "reverse it", "turn it around", "x = x[::-1]"),
        ("upper", "make it upper case", "capitalise every letter", "x = x.upper()"),
        ("lower", "make it lower case", "undo capital letters", "x = x.lower()"),
        ("swap", "swap the case", "flip upper and lower case", "x = x.swapcase()"),
        ("vowels", "keep the vowels", "drop what is not a vowel", "x = ''.join(a for a in x if a in 'aeiouAEIOU')"),
        ("consonants", "remove the vowels", "drop the vowels", "x = ''.join(a for a in x if a not in 'aeiouAEIOU')"),
        ("sort", "sort it", "put it in ascending order", "x = ''.join(sorted(x))"),
        ("unique", "remove repeats", "keep first occurrences only", "x = ''.join(dict.fromkeys(x))"),
        ("rest", "drop the first", "remove the first one", "x = x[1:]"),
        ("most", "drop the last", "remove the last one", "x = x[:-1]"),
        ("first", "take the first {k}", "keep only the first {k}", "x = x[:{k}]"),
        ("last", "take the last {k}", "keep only the last {k}", "x = x[-{k}:]"),
        ("second", "take every second one", "skip every other one", "x = x[::2]"),
        ("rotate", "move the first to the end", "rotate left by one", "x = x[1:] + x[:1]"),
        ("twice", "append it to itself", "write it twice", "x = x + x"),
        ("double", "double every letter", "write each letter two times", "x = ''.join(a + a for a in x)"),
    ],
)

_NUMBER = _same(
    "number",
    [
        ("add", "add {k}", "increase it by {k}", "x = x + {k}"),
        ("times", "multiply by {k}", "scale it by {k}", "x = x * {k}"),
        ("mod", "take it modulo {k}", "replace it by its remainder by {k}", "x = x % {k}"),
        ("divide", "divide by {k}, rounding down", "take how often {k} fits in", "x = x // {k}"),
        ("gap", "take the distance to {k}", "take how far it is from {k}", "x = abs(x - {k})"),
        ("reverse", "reverse it", "turn it around", "x = int(str(x)[::-1])"),
        ("sort", "sort it", "put it in ascending order", "x = int(''.join(sorted(str(x))))"),
        ("digits", "sum its digits", "add up the digits", "x = sum(map(int, str(x)))"),
        ("most", "drop the last", "remove the last one", "x = x // 10"),
        ("twice", "append it to itself", "write it twice", "x = int(str(x) * 2)"),
    ],
)

_CONVERSIONS = [
    Operation("list.length", "list", "number", ("count them", "take the length"), "x = len(x)"),
    Operation("list.sum", "list", "number", ("take the size of the sum", "sum up, without sign"), "x = abs(sum(x))"),
    Operation("list.join", "list", "string", ("join with commas", "write it with commas"), "x = ','.join(map(str, x))"),
    Operation("string.length", "string", "number", ("count them", "take the length"), "x = len(x)"),
    Operation("string.codes", "string", "list", ("take the character codes", "turn characters into codes"),
              "x = [ord(a) for a in x]"),
    Operation("number.string", "number", "string", ("write it in binary", "turn it into binary"), "x = bin(x)[2:]"),
    Operation("number.list", "number", "list", ("list its digits", "split it into digits"),
              "x = [int(a) for a in str(x)]"),
]  # fmt: skip

OPERATIONS: dict[Kind, list[Operation]] = {
    kind: [op for op in [*_LIST, *_STRING, *_NUMBER, *_CONVERSIONS] if op.takes == kind]
    for kind in ("list", "string", "number")
}
