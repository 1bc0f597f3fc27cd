"""Take assert tests apart, so that the program meets as little of them as possible.

`assert f(1, 2) == 3` becomes a call, whose value is compared here. Anything else runs as it is in a process of its own,
where the names that only the program knows stand for objects of the program's process.
"""

from __future__ import annotations

import ast
import builtins
import functools
import sys
import warnings
from dataclasses import dataclass
from typing import Any

from reforge.records import Problem

_once_for_each_problem = functools.lru_cache(64)  # the many programs of a problem come one after the other
_CLASS_MAKERS = ("namedtuple", "NamedTuple", "Enum", "IntEnum", "make_dataclass")


@dataclass(frozen=True)
class Want:
    """The demand of an assertion on a value, by Python's own rules."""

    operator: str  # ==, !=, is, truth
    value: Any

    def holds(self, given: Any) -> bool:
        if self.operator == "truth":
            return bool(given) is self.value
        if self.operator == "is":  # only None, True and False are safe to compare so
            return type(given) is type(self.value) and bool(given == self.value)
        return bool(given == self.value) is (self.operator == "==")


@dataclass(frozen=True)
class Call:
    arguments: list[Any]
    keywords: dict[str, Any]
    want: Want


@dataclass(frozen=True)
class Source:
    """A test that runs as it is, in the tests' process. All such tests of a problem are sent there at once, in a
    numbering of their own."""

    text: str


Step = Call | Source


@_once_for_each_problem
def steps_of(problem: Problem) -> list[Step]:
    """Return one step for each test."""
    return [_step(test.input, problem.entry_point) for test in problem.tests]


def _step(source: str, entry: str) -> Step:
    taken = _taken_apart(source)
    if taken is None:
        return Source(source)
    asked, want = taken
    if isinstance(asked, ast.Call) and isinstance(asked.func, ast.Name) and asked.func.id == entry:
        try:
            arguments = [ast.literal_eval(argument) for argument in asked.args]
            keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in asked.keywords if keyword.arg}
        except (ValueError, TypeError, MemoryError, RecursionError):
            return Source(source)
        if len(keywords) == len(asked.keywords):  # no **mapping
            return Call(arguments, keywords, want)
    return Source(source)


@_once_for_each_problem
def job_of(problem: Problem) -> dict[str, Any]:
    """Return the job of the tests' process."""
    sources = [step.text for step in steps_of(problem) if isinstance(step, Source)]
    entries = entries_of(problem.entry_point)
    free = set[str]().union(*(_free_names(f"{problem.setup}\n{source}") for source in ["", *sources]))
    called = set[str]().union(*map(_called_names, [problem.setup, *sources]))
    return {
        "setup": problem.setup,
        "tests": sources,
        "names": sorted(free | entries),
        "entry": problem.entry_point.rpartition(".")[2],
        "entries": sorted(entries),
        "modules": sorted((free - entries) & sys.stdlib_module_names),  # never the program's
        "classes": [name for name, _ in _classes(parsed(problem.setup), entries)],
        "called": sorted(called & (free | entries)),
    }


def entries_of(entry: str) -> set[str]:
    """Return the names that stand for the entry point, or for the class whose method it is."""
    owner, _, name = entry.rpartition(".")
    return {entry, name, owner or "Solution"}


@_once_for_each_problem
def shown_of(problem: Problem) -> dict[str, Any]:
    """Return what the program gets of the tests' setup, as a statement would show it: the classes whose objects it
    meets, and imports. A class that uses the entry point, asserts something or only holds values is part of the tests
    and stays away from it, as the rest does.
    """
    tree = parsed(problem.setup)
    classes = _classes(tree, entries_of(problem.entry_point))
    if tree is None or not classes:
        return {}
    shown = {id(node) for _, node in classes}
    kept = [node for node in tree.body if id(node) in shown or isinstance(node, ast.Import | ast.ImportFrom)]
    return {"definitions": [ast.unparse(node) for node in kept], "classes": [name for name, _ in classes]}


def _classes(tree: ast.Module | None, entries: set[str]) -> list[tuple[str, ast.stmt]]:
    found: list[tuple[str, ast.stmt]] = []
    for node in tree.body if tree is not None else []:
        if isinstance(node, ast.ClassDef):
            uses_entry = bool(entries & {part.id for part in ast.walk(node) if isinstance(part, ast.Name)})
            if not (uses_entry or _asserts(node) or _holds_values(node)):
                found.append((node.name, node))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made_by, target = ast.unparse(node.value.func).rpartition(".")[2], node.targets[0]
            if made_by in _CLASS_MAKERS and isinstance(target, ast.Name):
                found.append((target.id, node))
    return found


def _asserts(node: ast.ClassDef) -> bool:
    """Return whether the class asserts something outside of its constructors: there it may ask for the right arguments
    and be no test."""
    made = ("__init__", "__new__", "__post_init__")
    others = [part for part in node.body if not (isinstance(part, ast.FunctionDef) and part.name in made)]
    return any(isinstance(inner, ast.Assert) for part in others for inner in ast.walk(part))


def _holds_values(node: ast.ClassDef) -> bool:
    """Return whether this is a plain class without methods, one of whose values is more than a beginning such as 0:
    perhaps it is what a test expects."""
    if node.bases or node.decorator_list or any(isinstance(part, ast.FunctionDef) for part in node.body):
        return False
    values = [part.value for part in node.body if isinstance(part, ast.Assign | ast.AnnAssign) and part.value]
    return any(isinstance(inner, ast.Constant) and inner.value for value in values for inner in ast.walk(value))


def _taken_apart(source: str) -> tuple[ast.expr, Want] | None:
    """Return the expression of a lone assertion about one expression, and what is asked of its value; None for any
    other source."""
    tree = parsed(source)
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
    """Return the names that the source uses and neither makes nor finds among the builtins."""
    tree = parsed(source)
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


def _called_names(source: str) -> set[str]:
    """Return the names that are called, whose attributes are used, or that are handed over in a call."""
    tree = parsed(source)
    used: list[ast.expr] = []
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call):
            used += [node.func, *node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Attribute):
            used.append(node.value)
    return {name.id for name in used if isinstance(name, ast.Name)}


def parsed(source: str) -> ast.Module | None:
    """Return the tree of a source, None for what is no Python: whoever runs it will say what is wrong with it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
