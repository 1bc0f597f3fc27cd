"""Adapters of sets of single functions with assertions as tests: MBPP, HumanEval, LeetCodeDataset; and EvalPlus' inputs
for the first two."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from reforge.problems.adapters.fields import UnusableRow, day, level, number, parsed, text, texts
from reforge.records import Problem, TestCase


def mbpp(row: Mapping[str, Any]) -> Problem:
    """Read a row of Mostly Basic Python Problems: one assertion a test. The statement gives no more of the tests than
    names and numbers of arguments. The sanitized half and MBPP+ call `text` prompt; MBPP+ has one more program of
    tests."""
    tests, solution = texts(row, "test_list"), text(row, "code")
    imports = "".join(f"{line}\n" for line in row.get("test_imports") or [])
    prepared = text(row, "test_setup_code", empty=True) if row.get("test_setup_code") else ""
    setup = imports + _needed_imports(solution, tests) + prepared
    name = f"mbpp/{number(row, 'task_id')}"
    entry_point, form = _calling_form(solution, tests, setup)
    asked = text(row, "prompt" if row.get("text") is None and "prompt" in row else "text")
    more = [text(row, "test")] if row.get("test") else []
    return Problem(
        id=name,
        statement=f"{asked}\n{form}",
        solution=solution,
        tests=tuple(TestCase("assert", test) for test in [*tests, *more]),
        entry_point=entry_point,
        setup=setup,
        family=name,
    )


def humaneval(row: Mapping[str, Any]) -> Problem:
    """Read a row of HumanEval: the beginning of a function, to be completed. Its tests are one program; the prompt
    defines helpers they may need."""
    prompt, entry_point, name = text(row, "prompt"), text(row, "entry_point"), text(row, "task_id")
    return Problem(
        id=name,
        statement=f"Write the whole function {entry_point} that begins here, with the imports it needs:\n\n{prompt}",
        solution=prompt + text(row, "canonical_solution"),
        tests=(TestCase("assert", f"{text(row, 'test')}\ncheck({entry_point})\n"),),
        entry_point=entry_point,
        setup=prompt,
        family=name,
    )


def leetcode(row: Mapping[str, Any]) -> Problem:
    """Read a row of LeetCodeDataset (newfacade): a method of `class Solution`. `test` defines `check(candidate)`, an
    assertion a line; `prompt` holds the imports and the classes (ListNode, TreeNode) that solution and tests both need.
    """
    prompt, name = text(row, "prompt"), text(row, "task_id")
    entry = text(row, "entry_point")
    method = entry.removeprefix("Solution().")
    if not method.isidentifier():
        raise UnusableRow(f"no entry point: {entry!r} is no method of a class Solution")
    return Problem(
        id=f"leetcode/{name}",
        statement=f"{text(row, 'problem_description')}\n\nComplete this:\n\n{text(row, 'starter_code')}",
        solution=f"{prompt}\n{text(row, 'completion')}",
        tests=tuple(TestCase("assert", source) for source in _checks(text(row, "test"), method)),
        entry_point=method,
        setup=prompt,
        family=f"leetcode/{name}",
        difficulty=level(row, "difficulty", ("easy", "medium", "hard")),
        date=day(row, "estimated_date"),
    )


def _checks(test: str, name: str) -> list[str]:
    """Return each statement of `check(candidate)`, calling the entry point by its own name; all in one test unless all
    are assertions."""
    functions = [node for node in parsed(test, "test").body if isinstance(node, ast.FunctionDef)]
    if [function.name for function in functions] != ["check"]:
        raise UnusableRow("no tests: test does not define check(candidate) and nothing else")
    (candidate,) = [argument.arg for argument in functions[0].args.args] or [""]
    for node in ast.walk(functions[0]):
        if isinstance(node, ast.Name) and node.id == candidate:
            node.id = name
    sources = [ast.unparse(node) for node in functions[0].body]
    if not all(isinstance(node, ast.Assert) for node in functions[0].body):
        return ["\n".join(sources)]
    return sources


def _calling_form(solution: str, tests: list[str], setup: str) -> tuple[str, str]:
    """Return the function of the solution that the tests call, and a sentence on how they call it, free of values."""
    body = parsed(solution, "solution").body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    nodes = [node for source in [*tests, setup] for node in ast.walk(parsed(source, "test"))]
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
    """Return the solution's imports that the tests use: they were written to run in one namespace with it."""
    used = {node.id for test in tests for node in ast.walk(parsed(test, "test")) if isinstance(node, ast.Name)}
    return "".join(
        f"{ast.unparse(node)}\n"
        for node in parsed(solution, "solution").body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and used & {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    )
