"""The surroundings that LiveCodeBench's grader gives a program, as docs/sandbox.md has them from its source."""

from __future__ import annotations

import ast
from types import CodeType

_STARRED = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json", "builtins", "typing",
)  # fmt: skip
_NAMED = [name for name in _STARRED if name not in ("builtins", "typing")]
PREAMBLE = "\n".join(
    [f"from {name} import *" for name in _STARRED]
    + [f"import {name}" for name in _NAMED]
    + ["sys.setrecursionlimit(50_000)", "sys.set_int_max_str_digits(50_000)", ""]
)


def compiled(source: str, file: str) -> CodeType:
    """Compile a program that reads and prints. LiveCodeBench runs it inside a function, so that it may `return`; here
    that is done only where it does: as a script it means the same, and helpers may say `global`.
    """
    try:
        return compile(source, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        if error.msg != "'return' outside function":
            raise
    imports: list[ast.stmt] = []
    others: list[ast.stmt] = []
    for statement in ast.parse(source, file).body:
        (imports if isinstance(statement, ast.Import | ast.ImportFrom) else others).append(statement)
    frame = ast.parse("def program(): pass\nprogram()")
    function = frame.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = others
    frame.body = [*imports, *frame.body]
    return compile(frame, file, "exec", dont_inherit=True)
