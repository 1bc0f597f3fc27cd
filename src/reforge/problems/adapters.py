"""Published data sets → `Problem`. To add one: a function here and a name in `Problems.adapter`."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from reforge.types import Problem, TestCase


class UnusableRow(Exception):
    """Why a row of a source is no problem. Quarantines the row; the message begins with the kind of reason."""


def adapt(adapter: str, row: Any) -> Problem:
    if not isinstance(row, Mapping):
        raise UnusableRow(f"not an object: a JSON {type(row).__name__}")
    return _ADAPTERS[adapter](row)


def mbpp(row: Mapping[str, Any]) -> Problem:
    """Mostly Basic Python Problems: one assertion a test. The statement gives no more of the tests than the names."""
    tests, solution = _texts(row, "test_list"), _text(row, "code")
    setup = _needed_imports(solution, tests) + _text(row, "test_setup_code", empty=True)
    name = f"mbpp/{_number(row, 'task_id')}"
    entry_point, form = _calling_form(solution, tests, setup)
    return Problem(
        id=name,
        statement=f"{_text(row, 'text')}\n{form}",
        solution=solution,
        tests=tuple(TestCase("assert", test) for test in tests),
        entry_point=entry_point,
        setup=setup,
        family=name,
    )


def humaneval(row: Mapping[str, Any]) -> Problem:
    """A function's beginning to complete. Its tests are one program; the prompt defines helpers they may need."""
    prompt, entry_point, name = _text(row, "prompt"), _text(row, "entry_point"), _text(row, "task_id")
    return Problem(
        id=name,
        statement=f"Write the whole function {entry_point} that begins here, with the imports it needs:\n\n{prompt}",
        solution=prompt + _text(row, "canonical_solution"),
        tests=(TestCase("assert", f"{_text(row, 'test')}\ncheck({entry_point})\n"),),
        entry_point=entry_point,
        setup=prompt,
        family=name,
    )


_ADAPTERS: dict[str, Callable[[Mapping[str, Any]], Problem]] = {"mbpp": mbpp, "humaneval": humaneval}


def _calling_form(solution: str, tests: list[str], setup: str) -> tuple[str, str]:
    """The function of the solution that the tests call, and a sentence on how they call it, free of values."""
    body = _parsed(solution, "solution").body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    nodes = [node for source in [*tests, setup] for node in ast.walk(_parsed(source, "test"))]
    calls = [  # breadth first: of nested calls, the outer one comes first
        (node.func.id, len(node.args) + len(node.keywords))
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined
    ]
    if not calls:
        raise UnusableRow("no entry point: no test calls a function that the solution defines")
    name = calls[0][0]
    arities = sorted({arity for called, arity in calls if called == name})
    plural = "" if arities == [1] else "s"
    form = f"Name the function {name}; it is called with {' or '.join(map(str, arities))} argument{plural}."
    others = sorted({node.id for node in nodes if isinstance(node, ast.Name)} & defined - {name})
    return name, form + (f" The tests also use your {', '.join(others)}." if others else "")


def _needed_imports(solution: str, tests: list[str]) -> str:
    """What the tests use of the solution's imports: they were written to run in one namespace with it."""
    used = {node.id for test in tests for node in ast.walk(_parsed(test, "test")) if isinstance(node, ast.Name)}
    return "".join(
        f"{ast.unparse(node)}\n"
        for node in _parsed(solution, "solution").body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and used & {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    )


def _parsed(source: str, what: str) -> ast.Module:
    try:
        with warnings.catch_warnings(action="ignore"):  # a stray backslash in old code
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnusableRow(f"not Python: the {what} does not parse, {error}") from error


def _text(row: Mapping[str, Any], key: str, empty: bool = False) -> str:
    """With line feeds alone, whatever system it was typed on."""
    value = row.get(key)
    if value is None:
        raise UnusableRow(f"missing field: {key}")
    if not isinstance(value, str):
        raise UnusableRow(f"wrong type: {key} is not text but {type(value).__name__}")
    if not value.strip() and not empty:
        raise UnusableRow(f"empty field: {key}")
    return value.replace("\r\n", "\n").replace("\r", "\n")


def _texts(row: Mapping[str, Any], key: str) -> list[str]:
    value = row.get(key)
    if value is None or value == []:
        raise UnusableRow(f"no tests: {key} is {'empty' if value == [] else 'missing'}")
    if not isinstance(value, list):
        raise UnusableRow(f"wrong type: {key} is not a list but {type(value).__name__}")
    return [_text({key: item}, key) for item in value]


def _number(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    if value is None:
        raise UnusableRow(f"missing field: {key}")
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnusableRow(f"wrong type: {key} is not a whole number but {type(value).__name__}")
    return value
