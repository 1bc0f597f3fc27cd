"""Verdicts by kind of test, and many programs at once."""

import json
import subprocess
import sys
import threading

import pytest

from reforge.errors import UserError
from reforge.records import Problem, Status, TestCase, Verdict
from reforge.sandbox.grading import Graded
from reforge.sandbox.judge import Judge
from tests.unit.sandbox.problems import ADD, LIMITS, SUM, asserts, call


@pytest.mark.parametrize(
    ("program", "status", "test_index"),
    [
        ("a, b = map(int, input().split())\nprint(a + b)", Status.ACCEPTED, -1),
        ("import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))\nsys.exit()", Status.ACCEPTED, -1),
        ("print(sum(map(int, open(0).read().split())))\nexit()", Status.ACCEPTED, -1),
        ("for line in __import__('sys').stdin: print(sum(map(int, line.split())))", Status.ACCEPTED, -1),
        ("if __name__ == '__main__': print(sum(map(int, input().split())))", Status.ACCEPTED, -1),
        (
            "import sys, threading\nthreading.stack_size(64 << 20)\nsys.setrecursionlimit(10**6)\n"
            "def add(n, m): return m if n == 0 else add(n - 1, m + 1)\n"
            "threading.Thread(target=lambda: print(add(*map(int, input().split())))).start()",
            Status.ACCEPTED,
            -1,
        ),
        ("import sys\nprint(sum(map(int, input().split())))\nsys.stdout.close()", Status.ACCEPTED, -1),
        ("\ufeffprint(sum(map(int, input().split())))", Status.ACCEPTED, -1),
        ("print(sum(map(int, input().split())) if __file__ else 0)", Status.ACCEPTED, -1),
        ("print(3)", Status.WRONG_ANSWER, 1),
        ("", Status.WRONG_ANSWER, 0),
        ("a, b = map(int, input().split())\nprint(a + b)\nraise SystemExit(1)", Status.RUNTIME_ERROR, 0),
        ("a, b = map(int, input().split())\nprint(a + b, flush=True)\n1 / 0", Status.RUNTIME_ERROR, 0),
        ("input(); input()", Status.RUNTIME_ERROR, 0),
        ("print(3 if input() == '1 2' else 1 / 0)", Status.RUNTIME_ERROR, 1),
        ("print(", Status.COMPILE_ERROR, 0),
        ("\0", Status.COMPILE_ERROR, 0),
        ("'\ud800'", Status.COMPILE_ERROR, 0),
    ],
)
def test_stdin_programs(judge: Judge, program: str, status: Status, test_index: int) -> None:
    verdict = judge.judge(program, ADD)
    assert (verdict.status, verdict.test_index) == (status, test_index), verdict.reason


@pytest.mark.parametrize(
    ("program", "status", "test_index"),
    [
        ("f = sum", Status.ACCEPTED, -1),
        ("def f(x):\n    print('noise')\n    return sum(x)", Status.ACCEPTED, -1),
        ("def f(x): return sum(x)\nif __name__ == '__main__': input()", Status.ACCEPTED, -1),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\ndef f(x): return P(sum(x)).x",
         Status.ACCEPTED, -1),
        ("def f(x): return 3", Status.WRONG_ANSWER, 1),
        ("def f(x): return float(sum(x))", Status.WRONG_ANSWER, 0),
        ("def f(x): return str(sum(x))", Status.WRONG_ANSWER, 0),
        ("def f(x): x.clear(); return sum(x)", Status.WRONG_ANSWER, 0),
        ("def f(x): return (i for i in x)", Status.RUNTIME_ERROR, 0),
        ("def f(x): return 10 ** 100000", Status.RUNTIME_ERROR, 0),
        ("def f(x): return x[0] + x[1]", Status.RUNTIME_ERROR, 1),
        ("def f(x): return 'a' * 70000", Status.RUNTIME_ERROR, 0),
        ("def f(): return 3", Status.RUNTIME_ERROR, 0),
        ("def g(x): return 3", Status.RUNTIME_ERROR, -1),
        ("raise ValueError('no')", Status.RUNTIME_ERROR, -1),
        ("f = (", Status.COMPILE_ERROR, -1),
    ],
)  # fmt: skip
def test_functions(judge: Judge, program: str, status: Status, test_index: int) -> None:
    verdict = judge.judge(program, SUM)
    assert (verdict.status, verdict.test_index) == (status, test_index), verdict.reason


def test_arguments_are_fresh_for_every_call_though_the_process_is_the_same(judge: Judge) -> None:
    program = "calls = []\ndef f(x):\n    calls.append(x)\n    x.append(len(calls))\n    return x"
    assert judge.judge(program, call(("[[]]", "[1]"), ("[[]]", "[2]"))).status is Status.ACCEPTED


def test_typed_values_go_both_ways(judge: Judge) -> None:
    argument = '[{"$": "dict", "v": [[1, {"$": "set", "v": [2]}]]}, {"$": "tuple", "v": [3]}]'
    expected = '{"$": "dict", "v": [[1, {"$": "tuple", "v": [2, 3]}]]}'
    program = "def f(d, t): return {k: (*v, *t) for k, v in d.items()}"
    assert judge.judge(program, call((argument, expected))).status is Status.ACCEPTED


CHECK = "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate(x=[]) == 0\ncheck(f)"


@pytest.mark.parametrize(
    ("program", "status", "test_index"),
    [
        ("def f(x): return sum(x)", Status.ACCEPTED, -1),
        ("def f(x): return 3", Status.WRONG_ANSWER, 0),
        ("def f(x): return sum(x) if len(x) < 5 else 0", Status.WRONG_ANSWER, 1),
        ("def f(x): raise ValueError('mine')", Status.RUNTIME_ERROR, 0),
        ("def f(x): raise AssertionError", Status.RUNTIME_ERROR, 0),
        ("def f(x): return object()", Status.RUNTIME_ERROR, 0),
        ("class E(Exception): pass\ndef f(x): raise E", Status.RUNTIME_ERROR, 0),
        ("f =", Status.COMPILE_ERROR, -1),
        ("import os\ndef f(x): os._exit(0)", Status.RUNTIME_ERROR, 0),
        ("def f(x):\n    while True: pass", Status.TIME_LIMIT, 0),
        ("def f(x): return bytearray(1 << 40)", Status.MEMORY_LIMIT, 0),
    ],
)
def test_assertions(judge: Judge, program: str, status: Status, test_index: int) -> None:
    verdict = judge.judge(program, asserts(CHECK, "assert f([1] * 9) == 9"))
    assert (verdict.status, verdict.test_index) == (status, test_index), verdict.reason


def test_setup_is_for_the_tests_only(judge: Judge) -> None:
    problem = asserts("assert double(f(2)) == 8", setup="def double(x): return 2 * x")
    assert judge.judge("def f(x): return x * x", problem).status is Status.ACCEPTED
    assert judge.judge("def f(x): return double(x)", problem).status is Status.RUNTIME_ERROR


def test_a_test_may_expect_an_exception(judge: Judge) -> None:
    problem = asserts("try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass\nassert f(4) == 2")
    assert judge.judge("def f(x):\n    if x < 0: raise ValueError\n    return 2", problem).status is Status.ACCEPTED
    assert judge.judge("def f(x): return 2", problem).status is Status.WRONG_ANSWER
    assert judge.judge("def f(x): raise KeyError", problem).status is Status.RUNTIME_ERROR


@pytest.mark.parametrize(
    "problem",
    [
        asserts("assert f(1) == undefined(1"),
        asserts("undefined(f(1))", setup="import no_such_module"),
        asserts("g = undefined\nassert f(1) == 1"),
        asserts("assert f(object()) == 1"),
        asserts("def check(candidate):\n    assert candidate(1) == 1\n"),  # never called: would pass everything
        asserts("import os\nos._exit(0)"),
    ],
)
def test_broken_test_code_is_no_verdict_on_the_program(judge: Judge, problem: Problem) -> None:
    for program in ("def f(x): return x", "def f(x): return None"):
        verdict = judge.judge(program, problem)
        assert verdict.status is Status.BROKEN_TEST, verdict.reason
        assert not verdict.conclusive


def test_a_value_that_breaks_the_test_is_a_wrong_answer(judge: Judge) -> None:
    problem = asserts("assert f(1)[0] == 1")
    verdict = judge.judge("def f(x): return None", problem)
    assert verdict.status is Status.WRONG_ANSWER
    assert "could not use the returned value: TypeError" in verdict.reason
    assert judge.judge("def f(x): return [1]", problem).status is Status.ACCEPTED


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem("p", "", "", ()), "no tests"),
        (Problem("p", "", "", (TestCase("call", "[1]", "1"),)), "no entry_point"),
        (Problem("p", "", "", (TestCase("assert", "assert f(1)"),)), "no entry_point"),
        (Problem("p", "", "", (TestCase("call", "[1]", "1"), TestCase("stdin", "", "")), "f"), "kinds call, stdin"),
        (call(("1", "1")), "list of arguments"),
        (call(("[1]", "1"), ("[1]", "{")), "test 1: malformed"),
        (call(('[{"$": "spam", "v": 1}]', "1")), "test 0: malformed"),
    ],
)
def test_problems_that_cannot_be_judged(judge: Judge, problem: Problem, message: str) -> None:
    with pytest.raises(UserError, match=message):
        judge.judge("def f(x): return x", problem)


def test_verdicts_do_not_depend_on_hash_seed_or_random(judge: Judge) -> None:
    program = "__import__('random').random()"
    problem = call(("[]", "0"))
    asked = f"def f(): raise ValueError((*{{'a', 'b', 'c', 'd', 'e', 'f', 'g'}}, {program}))"
    reasons = set()
    for _ in range(3):
        with Judge(LIMITS, workers=1) as another:
            reasons.add(another.judge(asked, problem).reason)
    assert len(reasons) == 1
    assert "0.844421" in reasons.pop()  # the first of random.seed(0)


def test_no_more_programs_at_once_than_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def grade(*_: object) -> Graded:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.1)
        with lock:
            running -= 1
        return Graded(Verdict(Status.ACCEPTED))

    monkeypatch.setattr("reforge.sandbox.judge.grade", grade)
    with Judge(LIMITS, workers=2) as judge:
        threads = [threading.Thread(target=judge.judge, args=(f"p{i}", SUM)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 2


def test_many_in_order(judge: Judge) -> None:
    right, wrong = "f = sum", "f = len"
    verdicts = judge.judge_many([(right, SUM), (wrong, SUM), ("f = (", SUM), (right, SUM)])
    assert [str(verdict.status) for verdict in verdicts] == ["AC", "WA", "CE", "AC"]


def test_a_problem_that_cannot_be_judged_stops_many(judge: Judge) -> None:
    with pytest.raises(UserError, match="no tests"):
        judge.judge_many([("f = sum", SUM), ("x", Problem("p", "", "", ()))])


def test_the_sandbox_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "transformers", "vllm")
    code = f"""
import sys, json
from reforge.environments.code import Code
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert json.loads(found) == []
