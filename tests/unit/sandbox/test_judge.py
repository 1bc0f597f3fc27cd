import dataclasses
import errno
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from reforge.errors import InfrastructureError, UserError
from reforge.records import Checker, Problem, Status, TestCase, Verdict
from reforge.sandbox import cache, forkserver, grading, process
from reforge.sandbox.grading import Graded
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=10.0, memory_mb=256, output_kb=64)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(LIMITS, workers=2) as judge:
        yield judge


def stdin(*pairs: tuple[str, str]) -> Problem:
    return Problem("stdin", "", "", tuple(TestCase("stdin", given, expected) for given, expected in pairs))


def call(*pairs: tuple[str, str]) -> Problem:
    tests = tuple(TestCase("call", given, expected) for given, expected in pairs)
    return Problem("call", "", "", tests, entry_point="f")


def asserts(*sources: str, setup: str = "") -> Problem:
    tests = tuple(TestCase("assert", source) for source in sources)
    return Problem("assert", "", "", tests, entry_point="f", setup=setup)


ADD = stdin(("1 2\n", "3\n"), ("10 20\n", "30\n"))
SUM = call(("[[1, 2]]", "3"), ("[[]]", "0"))


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


# --- the machine's failures ---------------------------------------------------------------------------------------


def test_a_failing_machine_is_infrastructure(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "memfd_create", full)
    verdict = judge.judge("print(3)  # no space", ADD)
    assert verdict.status is Status.INFRASTRUCTURE
    assert "No space left" in verdict.reason
    monkeypatch.undo()
    assert judge.judge("print(3)  # no space", ADD).status is Status.WRONG_ANSWER


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Problem("p", "", "", (TestCase("stdn", "1", "1"),)), "not stdin, call, assert or answer"),  # type: ignore[arg-type]
        (stdin(("\ud800", "1")), "its input is no text"),
        (dataclasses.replace(ADD, checker=Checker("program")), "checker.source is empty"),
    ],
)
def test_a_problem_that_cannot_be_judged_is_refused(judge: Judge, problem: Problem, said: str) -> None:
    with pytest.raises(UserError, match=said):
        judge.judge("print(1)", problem)


def test_a_judge_refuses_what_is_no_program_no_limit_and_no_worker() -> None:
    with pytest.raises(UserError, match="cpu_seconds must be more than 0"):
        dataclasses.replace(LIMITS, cpu_seconds=0)
    with pytest.raises(UserError, match="at least one worker"):
        Judge(LIMITS, workers=0)
    with Judge(LIMITS, workers=1) as judge, pytest.raises(TypeError, match="not bytes"):
        judge.judge(b"print(3)", ADD)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="closed"):
        judge.judge("print(3)", ADD)


@pytest.mark.parametrize("python", ["/bin/false", "/no/such/python"])
def test_a_server_that_does_not_start_stops_the_judge(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "_PYTHON", [python])
    with pytest.raises(InfrastructureError, match="fork-server"):
        Judge(LIMITS, workers=1)


def test_a_lost_server_is_replaced_and_its_program_judged_again() -> None:
    """Killed from outside in the middle of a program; the server is the parent of the waiting process's child."""
    with Judge(LIMITS, workers=1) as lone:
        (server,) = lone._fleet._folders
        threading.Timer(0.3, server._process.kill).start()
        slow = "import time\ntime.sleep(1)\nprint(sum(map(int, input().split())))"
        assert lone.judge(slow, ADD).status is Status.ACCEPTED
        assert lone.events.counts == {"lost": 1}
        assert lone._fleet._folders.keys().isdisjoint({server})


def test_a_program_that_loses_every_server_is_not_judged_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def lose(program: str, problem: Problem, limits: Limits, server: forkserver.Server) -> Graded:
        raise server.lost("as planned")

    monkeypatch.setattr("reforge.sandbox.judge.grade", lose)
    with Judge(LIMITS, workers=1) as lone:
        lone.events.tell = told.append
        verdict = lone.judge("print(3)", ADD)
        assert verdict.status is Status.INFRASTRUCTURE  # for a program of ours is lost, too
        assert "as planned" in verdict.reason
        assert told == ["lost"] * 3


def test_a_program_that_loses_servers_which_others_keep_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever finds a way to end its server could buy a verdict that is not scored."""
    real = grading.grade

    def lose(program: str, problem: Problem, limits: Limits, server: forkserver.Server) -> Graded:
        if program == "deadly":
            raise server.lost("by this program")
        return real(program, problem, limits, server)

    monkeypatch.setattr("reforge.sandbox.judge.grade", lose)
    with Judge(LIMITS, workers=1) as lone:
        verdict = lone.judge("deadly", ADD)
        assert verdict.status is Status.RUNTIME_ERROR
        assert "the sandbox was lost each time it ran" in verdict.reason
        assert lone.events.counts == {"lost": 3}


def test_whatever_the_judge_raises_for_one_program_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(program: str, *_: object) -> Graded:
        if program == "odd":
            raise RecursionError("\ud800" * 10_000)
        return Graded(Verdict(Status.ACCEPTED))

    monkeypatch.setattr("reforge.sandbox.judge.grade", fail)
    with Judge(LIMITS, workers=1) as lone:
        verdicts = lone.judge_many([("odd", ADD), ("even", ADD)])
        assert [str(verdict.status) for verdict in verdicts] == ["INFRA", "AC"]
        assert lone.events.counts == {"failed": 1}
        verdicts[0].reason.encode()


def test_a_program_that_breaks_its_folder_beyond_repair_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next program meets another server; no test and no checker meets what it left."""
    real = forkserver.Server._hear

    def hear(self: forkserver.Server, seconds: float) -> tuple[dict[str, Any], list[int]]:
        message, descriptors = real(self, seconds)
        if "ended" in message and not broken:
            broken.append(self)
            self.broken = "it broke the folder that it ran in"
        return message, descriptors

    broken: list[forkserver.Server] = []
    monkeypatch.setattr(forkserver.Server, "_hear", hear)
    checker = Checker("program", source="def check(given, expected, output): return True")
    with Judge(LIMITS, workers=1) as lone:
        verdict = lone.judge("print(3)", dataclasses.replace(ADD, checker=checker))
        assert verdict.status is Status.RUNTIME_ERROR, verdict.reason
        assert verdict.reason == "it broke the folder that it ran in"
        assert verdict.test_index == 0
        assert lone.judge("print(sum(map(int, input().split())))", ADD).status is Status.ACCEPTED
        assert broken[0].gone()
        assert not lone.events.counts


def test_a_server_that_hangs_is_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program was started, so none was slow: it is judged by another server."""
    monkeypatch.setattr(forkserver, "PATIENCE", 1.0)
    monkeypatch.setattr(process, "PATIENCE", 1.0)
    with Judge(Limits(0.1, 0.3, memory_mb=256, output_kb=64), workers=1) as lone:
        (server,) = lone._fleet._folders
        psutil.Process(server._process.pid).suspend()
        for child in psutil.Process(server._process.pid).children():
            child.suspend()
        assert lone.judge("print(sum(map(int, input().split())))", ADD).status is Status.ACCEPTED
        assert lone.events.counts == {"lost": 1}


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Judge(LIMITS, workers=1) as judge:
        judge.judge("open('file', 'w').write('x')\nf = sum", SUM)
        judge.judge("print(1)", ADD)
        judge.judge("import os\nos.makedirs('/'.join('a' * 200))\nos.chmod('a', 0)\nf = sum", SUM)
    assert not list(tmp_path.iterdir())
    assert len(set(Path("/proc/self/fd").iterdir())) == len(before)


# --- the cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def graded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Programs that were really run, with a stub in place of running them."""
    programs: list[str] = []

    def grade(program: str, *_: object) -> Graded:
        programs.append(program)
        status = Status.INFRASTRUCTURE if program == "infra" else Status.ACCEPTED
        return Graded(Verdict(status, "why", 3, 0.5))

    monkeypatch.setattr("reforge.sandbox.judge.grade", grade)
    return programs


def test_a_known_verdict_is_not_judged_again(graded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with Judge(LIMITS, 2, path) as judge:
        first = judge.judge("a", SUM)
        assert judge.judge("a", SUM) == first
    with Judge(LIMITS, 2, path) as judge:
        assert judge.judge("a", SUM) == first
    assert graded == ["a"]


def test_infrastructure_failures_are_not_remembered(graded: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        with Judge(LIMITS, 2, tmp_path / "verdicts.jsonl") as judge:
            judge.judge("infra", SUM)
            judge.judge("infra", SUM)
    assert graded == ["infra"] * 4


def test_a_torn_cache_file_loses_only_the_torn_line(graded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with Judge(LIMITS, 2, path) as judge:
        judge.judge("a", SUM)
        judge.judge("b", SUM)
    path.write_bytes(path.read_bytes()[:-20] + b"\xff")
    for _ in range(2):
        with Judge(LIMITS, 2, path) as judge:
            judge.judge("a", SUM)
            judge.judge("b", SUM)
    assert graded == ["a", "b", "b"]


CONFIGURATION = cache.Configuration(LIMITS, ("seccomp",), "cpython 3.11.7", ("numpy==2 ab",), "digest of the code")


def test_every_field_of_the_configuration_changes_the_key() -> None:
    """Whatever is added to a judge's configuration, nobody has to think of the key."""
    other = {
        "limits": [
            dataclasses.replace(LIMITS, **{field.name: getattr(LIMITS, field.name) / 2})
            for field in dataclasses.fields(Limits)
            if getattr(LIMITS, field.name) not in (math.inf, "refuse")
        ]
        + [dataclasses.replace(LIMITS, budget_seconds=7.0), dataclasses.replace(LIMITS, exposed="accept")],
        "layers": [()],
        "interpreter": ["cpython 3.99"],
        "packages": [(), ("numpy==3 ab",), ("numpy==2 cd",)],
        "code": ["changed"],
    }
    assert other.keys() == {field.name for field in dataclasses.fields(cache.Configuration)}
    keys = [cache.verdict_key("p", SUM, CONFIGURATION), cache.verdict_key("q", SUM, CONFIGURATION)]
    for name, values in other.items():
        for value in values:
            keys.append(cache.verdict_key("p", SUM, dataclasses.replace(CONFIGURATION, **{name: value})))
    assert len(set(keys)) == len(keys)


def test_every_field_of_a_problem_changes_the_key_but_what_describes_it() -> None:
    key = cache.verdict_key("p", SUM, CONFIGURATION)
    for field in dataclasses.fields(Problem):
        value = "changed" if field.type == "str" else (TestCase("call", "[]", "0"),) if field.name == "tests" else True
        value = Checker("lcb") if field.name == "checker" else value
        changed = dataclasses.replace(SUM, **{field.name: value})
        assert (cache.verdict_key("p", changed, CONFIGURATION) == key) is (field.name in cache._ASIDE), field.name
    for checker in (Checker(tolerance=0.5), Checker(source="x")):
        assert cache.verdict_key("p", dataclasses.replace(SUM, checker=checker), CONFIGURATION) != key
    for test in (TestCase("call", "[1]", "3"), TestCase("call", "[[1, 2]]", "4"), TestCase("stdin", "[[1, 2]]", "3")):
        assert cache.verdict_key("p", dataclasses.replace(SUM, tests=(test,)), CONFIGURATION) != key


def test_a_judge_is_configured_by_all_that_it_was_given() -> None:
    with Judge(LIMITS, 1, packages=["numpy"], layers=()) as judge:
        made = judge.configuration
    assert (made.limits, made.layers, made.code) == (LIMITS, (), cache.code_digest())
    assert re.fullmatch(r"numpy==\S+ [0-9a-f]{16}", made.packages[0])
    assert made.interpreter.startswith("cpython")


def test_of_equal_jobs_at_once_one_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    graded, release = [], threading.Event()

    def grade(program: str, *_: object) -> Graded:
        graded.append(program)
        assert release.wait(30)
        return Graded(Verdict(Status.ACCEPTED))

    monkeypatch.setattr("reforge.sandbox.judge.grade", grade)
    with Judge(LIMITS, workers=4) as judge:
        threading.Timer(0.2, release.set).start()
        verdicts = judge.judge_many([("same", SUM)] * 4)
    assert [verdict.status for verdict in verdicts] == [Status.ACCEPTED] * 4
    assert graded == ["same"]


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


def test_files_of_the_problem_that_cannot_be_written_are_no_fault_of_the_program() -> None:
    """As on a full disk. Here a file stands where another one's folder should be."""
    tests = {"stdin": TestCase("stdin", "", "1"), "call": TestCase("call", "[1]", "1")}
    with Judge(LIMITS, 1) as judge:
        for kind, test in tests.items():
            files = (("a", "1"), ("a/b", "2"))
            problem = Problem(kind, "", "", (test,), entry_point="f" * (kind == "call"), files=files)
            verdict = judge.judge("print(1)\ndef f(x): return x", problem)
            assert verdict.status is Status.INFRASTRUCTURE
            assert "could not be fenced in" in verdict.reason
        written = Problem("written", "", "", (tests["stdin"],), files=files[:1])
        assert judge.judge("print(open('a').read())", written).status is Status.ACCEPTED
