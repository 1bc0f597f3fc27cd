"""Programs that differ from a given one in one place, and whether two lists of answers are the same: the truth that
verdicts are held against, settled without the sandbox, its channel and its checker.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.record import ROOT
from reforge.sandbox import wire

# Each is one change that a careless programmer might make.
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Div: ast.FloorDiv, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def mutants_of(program: str) -> list[str]:
    """Return every program that differs in one operator, constant or returned value."""
    places = [number for number, node in enumerate(ast.walk(ast.parse(program))) if mutated(node) is not None]
    changed = []
    for place in places:
        tree = ast.parse(program)
        node = list(ast.walk(tree))[place]
        change = mutated(node)
        assert change is not None
        for name, value in change.items():
            setattr(node, name, value)
        changed.append(ast.unparse(tree))
    return changed


def mutated(node: ast.AST) -> dict[str, Any] | None:
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        return {"op": SWAPS[type(node.op)]()}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        return {"ops": [SWAPS[type(node.ops[0])](), *node.ops[1:]]}
    if isinstance(node, ast.Constant) and type(node.value) in (int, bool):
        return {"value": node.value + 1 if type(node.value) is int else not node.value}
    if isinstance(node, ast.Return) and node.value is not None:
        return {"value": ast.List([node.value], ast.Load())}
    return None


PLAIN = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
sys.set_int_max_str_digits(0)
from reforge.sandbox import wire
job = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"]))
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
scope = {"__name__": "program"}
said = []
try:
    exec(compile(job["program"], "program.py", "exec"), scope)
    for asked in job["inputs"]:
        try:
            said.append(wire.dumps(scope[job["entry"]](*wire.loads(asked)), 1 << 28))
        except Exception:
            said.append(None)
finally:
    print(json.dumps(said + [None] * (len(job["inputs"]) - len(said))))
"""


def plain_run(program: str, entry: str, inputs: Sequence[str], seconds: int) -> list[str | None]:
    """Return what a program returns for each input in an interpreter of its own, without any sandbox; None: nothing
    plain."""
    job = json.dumps({"program": program, "entry": entry, "inputs": list(inputs), "seconds": seconds})
    command = [sys.executable, "-c", PLAIN, str(ROOT / "src")]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, input=job, capture_output=True, text=True, env=environment, check=False)
    try:
        return list(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):  # killed: it said nothing
        return [None] * len(inputs)


def agreement(answers: Sequence[str | None], expected: Sequence[str]) -> str:
    """Return how far two lists of answers agree. same: equal in type and value everywhere. other: not even close
    somewhere. close: in between, where a checker may decide either way (rounding, a list for a tuple, an int for a
    float)."""
    levels = [nearness(*pair) for pair in zip(answers, expected, strict=True)]
    return ("same", "close", "other")[max(levels)]


def nearness(answer: str | None, expected: str) -> int:
    if answer is None:
        return 2
    left, right = wire.loads(answer), wire.loads(expected)
    if answer == expected or (type(left) is type(right) and isinstance(left, set | frozenset | dict) and left == right):
        return 0
    return 1 if loose(left) == loose(right) else 2


def loose(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str | bytes):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        if value != value:
            return ("number", "nan")
        return ("number", float(f"{value:.4g}") if abs(value) < 1e300 else value)
    if isinstance(value, list | tuple):
        return [loose(item) for item in value]
    if isinstance(value, dict):
        return sorted(((repr(loose(key)), loose(item)) for key, item in value.items()), key=repr)
    if isinstance(value, set | frozenset):
        return sorted(repr(loose(item)) for item in value)
    return repr(value)
