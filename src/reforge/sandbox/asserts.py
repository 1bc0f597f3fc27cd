"""Assert tests taken apart, so that as little of them as can be meets the program.

`assert f(1, 2) == 3` becomes a call, whose value is compared here. A test that only the program's own names make sense
of (`assert f(Node(1)) == 3`) becomes an expression, evaluated in the program's process; what it should be stays here.
Anything else runs as it is in a process of its own, from which only the calls of the entry point go to the program.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from dataclasses import dataclass
from typing import Any

from reforge.types import Problem


@dataclass(frozen=True)
class Want:
    """What an assertion asks of a value, by Python's own rules."""

    operator: str  # ==, !=, is, truth
    value: Any

    def holds(self, given: Any) -> bool:
        if self.operator == "truth":
            return bool(given) is self.value
        if self.operator == "is":  # of None, True and False: only they are safe to compare so
            return type(given) is type(self.value) and bool(given == self.value)
        return bool(given == self.value) is (self.operator == "==")


@dataclass(frozen=True)
class Call:
    arguments: list[Any]
    keywords: dict[str, Any]
    want: Want


@dataclass(frozen=True)
class Expression:
    source: str
    want: Want


@dataclass(frozen=True)
class Source:
    """The tests of this kind of a problem have their own numbering: they are sent to their process at once."""

    text: str


Step = Call | Expression | Source


def steps_of(problem: Problem) -> list[Step]:
    """One for each test."""
    return [_step(test.input, problem.entry_point, problem.setup) for test in problem.tests]


def _step(source: str, entry: str, setup: str) -> Step:
    taken = _taken_apart(source)
    if taken is None:
        return Source(source)
    asked, want = taken
    if _free_names(f"{setup}\n{source}") - {entry}:
        return Expression(ast.unparse(asked), want)
    if isinstance(asked, ast.Call) and isinstance(asked.func, ast.Name) and asked.func.id == entry:
        try:
            arguments = [ast.literal_eval(argument) for argument in asked.args]
            keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in asked.keywords if keyword.arg}
        except (ValueError, TypeError, MemoryError, RecursionError):
            return Source(source)
        if len(keywords) == len(asked.keywords):  # no **mapping
            return Call(arguments, keywords, want)
    return Source(source)


def _taken_apart(source: str) -> tuple[ast.expr, Want] | None:
    """Of a lone assertion about one expression, the expression and what is asked of its value."""
    tree = _parsed(source)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
        return None
    claim = tree.body[0].test
    if isinstance(claim, ast.UnaryOp) and isinstance(claim.op, ast.Not):
        return claim.operand, Want("truth", False)
    if not isinstance(claim, ast.Compare):
        return claim, Want("truth", True)
    if len(claim.ops) != 1:
        return None
    operator = {ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is"}.get(type(claim.ops[0]))
    for asked, expected in ((claim.left, claim.comparators[0]), (claim.comparators[0], claim.left)):
        try:
            value = ast.literal_eval(expected)
        except (ValueError, TypeError, MemoryError, RecursionError):
            continue
        if operator in ("==", "!=") or (operator == "is" and (value is None or isinstance(value, bool))):
            return asked, Want(operator, value)
    return None


def _free_names(source: str) -> set[str]:
    """Names that the source uses and neither makes nor finds among the builtins."""
    tree = _parsed(source)
    if tree is None:
        return set()
    made, used = set(dir(builtins)), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
    return used - made


def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # whoever runs it will say what is wrong with it
