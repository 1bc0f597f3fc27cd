"""Rows as they are published → problems; rows that are no problem say why."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from reforge.problems.adapters import UnusableRow, adapt
from reforge.records import Status, TestCase
from reforge.sandbox.judge import Judge, Limits

MBPP: dict[str, Any] = {
    "text": "Add two numbers.",
    "code": "def helper(a):\r\n    return a\r\ndef add(a, b):\r\n    return helper(a) + b",
    "task_id": 7,
    "test_setup_code": "",
    "test_list": ["assert add(1, 2) == 3", "assert add(2, b=5) == 7"],
    "challenge_test_list": ["assert add(0, 0) == 0"],
}
HUMANEVAL: dict[str, Any] = {
    "task_id": "HumanEval/0",
    "prompt": 'def one() -> int:\n    """ Return one. """\n',
    "entry_point": "one",
    "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}


def test_mbpp() -> None:
    problem = adapt("mbpp", MBPP)
    assert problem.id == problem.family == "mbpp/7"
    assert problem.entry_point == "add"
    assert problem.statement == "Add two numbers.\nName the function add; it is called with 2 arguments."
    assert problem.solution == "def helper(a):\n    return a\ndef add(a, b):\n    return helper(a) + b"
    assert problem.tests == (TestCase("assert", "assert add(1, 2) == 3"), TestCase("assert", "assert add(2, b=5) == 7"))
    assert problem.setup == ""


@pytest.mark.parametrize(
    ("tests", "form"),
    [
        (["assert set(add((1, 2))) == {1}"], "Name the function add; it is called with 1 argument."),
        (["assert add(1, 2)", "assert add(1, 2, 3)"], "Name the function add; it is called with 2 or 3 arguments."),
        # The outer call is the function asked for, the inner one only makes its argument.
        (["assert add(helper(1), 2)"], "Name the function add; it is called with 2 arguments. "
                                       "The tests also use your helper."),
    ],
)  # fmt: skip
def test_mbpp_says_how_the_function_is_called(tests: list[str], form: str) -> None:
    assert adapt("mbpp", {**MBPP, "test_list": tests}).statement == f"Add two numbers.\n{form}"


def test_mbpp_names_a_class_that_only_the_setup_uses() -> None:
    row = {
        **MBPP,
        "code": "class Node: pass\ndef height(node): return 1",
        "test_setup_code": "root = Node()\r\n",
        "test_list": ["assert height(root) == 1"],
    }
    problem = adapt("mbpp", row)
    assert problem.entry_point == "height"
    assert problem.setup == "root = Node()\n"
    assert problem.statement.endswith("called with 1 argument. The tests also use your Node.")


def test_mbpp_tests_get_those_imports_of_the_solution_that_they_use() -> None:
    code = "import sys\nimport os.path as path, re\nfrom math import pi\ndef area(x): return pi * x"
    row = {**MBPP, "code": code, "test_setup_code": "a = 1", "test_list": ["assert area(sys.maxsize) == path.x(a)"]}
    assert adapt("mbpp", row).setup == "import sys\nimport os.path as path, re\na = 1"


def test_humaneval() -> None:
    problem = adapt("humaneval", HUMANEVAL)
    assert problem.id == problem.family == "HumanEval/0"
    assert problem.solution == 'def one() -> int:\n    """ Return one. """\n    return 1\n'
    assert problem.tests == (TestCase("assert", "def check(candidate):\n    assert candidate() == 1\n\ncheck(one)\n"),)
    assert problem.setup == HUMANEVAL["prompt"]
    assert problem.statement.startswith("Write the whole function one ")
    assert problem.statement.endswith(HUMANEVAL["prompt"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"code": None}, "missing field: code"),
        ({"code": 3}, "wrong type: code is not text but int"),
        ({"text": " "}, "empty field: text"),
        ({"task_id": None}, "missing field: task_id"),
        ({"task_id": "7"}, "wrong type: task_id is not a whole number but str"),
        ({"test_list": []}, "no tests: test_list is empty"),
        ({"test_list": None}, "no tests: test_list is missing"),
        ({"test_list": "assert add(1, 2) == 3"}, "wrong type: test_list is not a list but str"),
        ({"test_list": [None]}, "missing field: test_list"),
        ({"test_list": ["assert True"]}, "no entry point: no test calls a function that the solution defines"),
        ({"code": "def add(a, b) return a"}, "not Python: the solution does not parse"),
        ({"test_list": ["assert add(1,"]}, "not Python: the test does not parse"),
    ],
)
def test_a_row_that_is_no_problem_says_why(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRow, match=reason):
        adapt("mbpp", {**MBPP, **change})


def test_a_line_that_is_no_object() -> None:
    with pytest.raises(UnusableRow, match="not an object: a JSON list"):
        adapt("humaneval", [])


def test_no_statement_of_the_published_sets_gives_a_test_away(shared) -> None:
    mbpp = [json.loads(line) for line in (shared / "data/mbpp/mbpp.jsonl").read_text().splitlines()]
    packed = (shared / "data/humaneval/HumanEval.jsonl.gz").read_bytes()
    humaneval = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    assert (len(mbpp), len(humaneval)) == (974, 164)
    for row in mbpp:
        problem = adapt("mbpp", row)
        assert "\r" not in problem.statement + problem.solution + problem.setup
        assert not any(test.input in problem.statement for test in problem.tests)
    for row in humaneval:
        problem = adapt("humaneval", row)
        ast.parse(problem.setup)  # the prompt alone is a valid program, so it can be the setup of the tests
        assert row["test"] not in problem.statement


PLUS = """
import numpy as np

def is_floats(x) -> bool:
    if isinstance(x, (list, tuple)) and x:
        return all(isinstance(i, float) for i in x)
    return isinstance(x, float) or (isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64))

def assertion(out, exp, atol):
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if out != exp and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert out == exp, f"out: {out}, exp: {exp}"
"""
LOOP = "for i, (inp, exp) in enumerate(zip(inputs, results)):"


@pytest.fixture(scope="module")
def with_numpy() -> Iterator[Judge]:
    with Judge(Limits(10.0, 60.0, 1024, 64), 1, packages=["numpy"]) as judge:
        yield judge


@pytest.mark.parametrize(
    ("adapter", "row"),
    [
        (
            "humaneval",
            {
                "task_id": "HumanEval/900",
                "prompt": 'def half(x: float) -> float:\n    """ Half of x. """\n',
                "canonical_solution": "    return x / 2\n",
                "entry_point": "half",
                "test": f"{PLUS}\ndef check(candidate):\n    inputs = [[1], [3.0]]\n    results = [0.5, 1.5]\n"
                f"    {LOOP}\n        assertion(candidate(*inp), exp, 0)\n",
            },
        ),
        (
            "mbpp",
            {
                "task_id": 900,
                "prompt": "Write a function to halve a number.",
                "code": "def half(x):\n    return x / 2",
                "test_imports": ["import math"],
                "test_list": ["assert math.isclose(half(1), 0.5)"],
                "test": f"{PLUS}\ninputs = [[1], [3.0]]\nresults = [0.5, 1.5]\n"
                f"{LOOP}\n    assertion(half(*inp), exp, 0)\n",
            },
        ),
    ],
)
def test_the_plus_sets_in_the_form_of_the_hub(with_numpy: Judge, adapter: str, row: dict[str, Any]) -> None:
    problem = adapt(adapter, row)
    verdict = with_numpy.judge(problem.solution, problem)
    assert verdict.status is Status.ACCEPTED, verdict.reason
    assert with_numpy.judge("def half(x):\n    return x // 2 + 0.5 * (x == 1)", problem).status is Status.WRONG_ANSWER
