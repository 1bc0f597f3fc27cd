"""Rows as the published sets have them: read into problems whose own references the real sandbox accepts."""

import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from reforge.config.problems import Verification
from reforge.problems.adapters import UnusableRow, adapt
from reforge.problems.funnel import Entry
from reforge.problems.verify import verify
from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Judge, Limits

ONE = Verification(references=1, runs=1, several_answers="keep")
LIMITS = Limits(cpu_seconds=2.0, wall_seconds=10.0, memory_mb=512, output_kb=64)
SUM = "print(sum(map(int, input().split())))"
WRONG = "print(0)"

TACO = {
    "question": "Add the numbers of a line.",
    "solutions": json.dumps([WRONG, SUM]),
    "starter_code": "",
    "input_output": json.dumps({"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"]}),
    "difficulty": "EASY",
    "name": None,
    "source": "codeforces",
    "url": "https://codeforces.com/problemset/problem/1/A",
    "time_limit": "1.0 seconds",
    "date": "2019-12-31",
}
TACO_CALL = {
    **TACO,
    "starter_code": "class Solution:\n    def twice(self, x: int, of: List[int]) -> List[int]:\n",
    "solutions": ["class Solution:\n    def twice(self, x, of):\n        return [x * y for y in of]\n"],
    "input_output": json.dumps(
        {"fn_name": "twice", "inputs": [[2, [1, 2]], [3, []]], "outputs": [[[2, 4]], [[]]]},
    ),
    "url": "https://leetcode.com/problems/twice/",
}
APPS = {
    "problem_id": 17,
    "question": "Say it twice.",
    "solutions": json.dumps(["def f(s):\n    return s + s"]),
    "input_output": json.dumps({"fn_name": "f", "inputs": [["a"], [""]], "outputs": ["aa", ""]}),
    "difficulty": "introductory",
    "url": "",
    "starter_code": "def f(s):\n",
}
SYNTHETIC1 = {
    "source": "apps",
    "task_type": "verifiable_code",
    "in_source_id": "1",
    "prompt": "Add the numbers of a line.",
    "gold_standard_solution": f"Here it is:\n```python\n{SUM}\n```\n",
    "verification_info": json.dumps(
        {
            "language": "python",
            "test_cases": [
                {"fn_name": None, "input": "1 2", "output": "3", "type": "stdin_stdout"},
                {"fn_name": None, "input": "7 8", "output": "15", "type": "stdin_stdout"},
            ],
        }
    ),
    "metadata": "{}",
    "problem_id": "vcp_1",
}
SYNTHETIC1_CALL = {
    **SYNTHETIC1,
    "gold_standard_solution": "```python\ndef g(a, b):\n    return a - b\n```",
    "verification_info": json.dumps(
        {
            "language": "python",
            "test_cases": [{"fn_name": "g", "input": "[5, 3]", "output": "[2]", "type": "function_call"}],
        }
    ),
}
CODE_CONTESTS = {
    "name": "1_A. Sum",
    "description": "Add the numbers of a line.",
    "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
    "private_tests": {"input": ["3 4\n"], "output": ["7\n"]},
    "generated_tests": {"input": ["3 4\n"], "output": ["7\n"]},
    "solutions": {"language": [2, 1, 3], "solution": ["int main(){}", "print 3", SUM]},
    "input_file": "",
    "output_file": "",
}
CODEFORCES = {
    "id": "1/A",
    "title": "Any larger",
    "description": "Print any larger number.",
    "input_format": "A number.",
    "output_format": "A larger one.",
    "interaction_format": None,
    "note": None,
    "examples": [{"input": "1", "output": "2"}],
    "official_tests": [{"input": "1\n", "output": "2\n"}, {"input": "5\n", "output": "6\n"}],
    "official_tests_complete": True,
    "input_mode": "stdio",
    "contest_start": 1_600_000_000,
    "generated_checker": "import sys\ngiven, expected, printed = (open(name).read() for name in sys.argv[1:4])\n"
    "print(1 if int(printed) > int(given) else 0)\n",
    "solution": "print(int(input()) + 10)",
}
STDIN_CASES = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
LCB = {
    "question_title": "Sum",
    "question_content": "Add the numbers of a line.",
    "platform": "atcoder",
    "question_id": "abc300_a",
    "contest_id": "abc300",
    "contest_date": "2023-08-21T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps(STDIN_CASES),
    "private_test_cases": base64.b64encode(
        zlib.compress(pickle.dumps(json.dumps([{"input": "4 4\n", "output": "8\n", "testtype": "stdin"}])))
    ).decode(),
    "metadata": "{}",
}
LCB_CALL = {
    **LCB,
    "starter_code": "class Solution:\n    def add(self, a: int, b: List[int]) -> int:\n        ",
    "public_test_cases": json.dumps([{"input": "1\n[2, 3]", "output": "6", "testtype": "functional"}]),
    "private_test_cases": json.dumps([{"input": "0\n[]", "output": "0", "testtype": "functional"}]),
    "metadata": json.dumps({"func_name": "add"}),
}
LEETCODE = {
    "task_id": "two-sum",
    "difficulty": "Easy",
    "estimated_date": "2015-08-07",
    "problem_description": "Find two numbers.",
    "starter_code": "class Solution:\n    def first(self, nums: List[int]) -> int:\n        ",
    "prompt": "from typing import *\nclass Box:\n    def __init__(self, inside):\n        self.inside = inside\n",
    "completion": "class Solution:\n    def first(self, nums: List[int]) -> int:\n        return Box(nums).inside[0]\n",
    "entry_point": "Solution().first",
    "test": "def check(candidate):\n    assert candidate(nums = [3,3]) == 3\n    assert candidate(nums = [5]) == 5\n",
}


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(LIMITS, workers=2) as judge:
        yield judge


def verified(judge: Judge, problem: Problem) -> Problem:
    kept, dropped = verify([Entry("set", 1, problem)], judge, ONE, LIMITS.cpu_seconds, 1)
    assert not dropped, dropped[0].reason
    return kept[0].problem


@pytest.mark.parametrize(
    ("adapter", "row", "id", "tests", "entry"),
    [
        ("taco", TACO, "taco/https://codeforces.com/problemset/problem/1/A", 2, ""),
        ("taco", TACO_CALL, "taco/https://leetcode.com/problems/twice/", 2, "twice"),
        ("apps", APPS, "apps/17", 2, "f"),
        ("synthetic1", SYNTHETIC1, "synthetic1/vcp_1", 2, ""),
        ("synthetic1", SYNTHETIC1_CALL, "synthetic1/vcp_1", 1, "g"),
        ("code_contests", CODE_CONTESTS, "code_contests/1_A. Sum", 2, ""),
        ("codeforces", CODEFORCES, "codeforces/1/A", 2, ""),
        ("leetcode", LEETCODE, "leetcode/two-sum", 2, "first"),
    ],
)
def test_a_published_row_is_read_and_its_reference_accepted(
    judge: Judge, adapter: str, row: dict[str, Any], id: str, tests: int, entry: str
) -> None:
    problem = adapt(adapter, row)
    assert (problem.id, len(problem.tests), problem.entry_point) == (id, tests, entry)
    kept = verified(judge, problem)
    wrong = f"class Solution:\n    def {entry}(self, *a, **k): return 'x'\ndef {entry}(*a, **k): return 'x'"
    assert judge.judge(wrong if entry else WRONG, kept).status is Status.WRONG_ANSWER


def test_the_first_reference_that_is_accepted_becomes_the_solution(judge: Judge) -> None:
    assert adapt("taco", TACO).solution == WRONG
    assert verified(judge, adapt("taco", TACO)).solution == SUM
    kept, dropped = verify(
        [Entry("set", 7, adapt("taco", {**TACO, "solutions": [WRONG]}))], judge, ONE, LIMITS.cpu_seconds, 1
    )
    assert (kept, dropped[0].line, dropped[0].reason) == ([], 7, "reference solution WA: test 1")


@pytest.mark.parametrize(
    ("row", "tests", "answer"),
    [
        (LCB, (TestCase("stdin", "1 2\n", "3\n"), TestCase("stdin", "4 4\n", "8\n")), SUM),
        (
            LCB_CALL,
            (TestCase("call", "[1, [2, 3]]", "6"), TestCase("call", "[0, []]", "0")),
            "class Solution:\n    def add(self, a, b): return a + sum(b)",
        ),
    ],
)
def test_livecodebench_has_tests_and_no_reference(
    judge: Judge, row: dict[str, Any], tests: tuple[TestCase, ...], answer: str
) -> None:
    problem = adapt("livecodebench", row)
    assert (problem.tests, problem.solution, problem.date, problem.checker.rule) == (tests, "", "2023-08-21", "lcb")
    assert judge.judge(answer, problem).status is Status.ACCEPTED


class Planted:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("executed",))


def test_a_pickle_is_never_executed(capsys: pytest.CaptureFixture[str]) -> None:
    packed = base64.b64encode(zlib.compress(pickle.dumps((json.dumps(STDIN_CASES), Planted())))).decode()
    assert len(adapt("livecodebench", {**LCB, "private_test_cases": packed}).tests) == 1
    assert "executed" not in capsys.readouterr().out


def test_dates_and_checkers_come_along(judge: Judge) -> None:
    problem = adapt("codeforces", CODEFORCES)
    assert problem.date == "2020-09-13"
    assert judge.judge("print(int(input()) + 1)", problem).status is Status.ACCEPTED
    assert judge.judge("print(int(input()))", problem).status is Status.WRONG_ANSWER
    assert judge.judge("print('much')", problem).status is Status.WRONG_ANSWER
    assert adapt("taco", TACO).date == "2019-12-31"


@pytest.mark.parametrize(
    ("adapter", "change", "reason"),
    [
        ("taco", {"solutions": "[]"}, "no reference"),
        ("taco", {"solutions": "[oops"}, "not JSON: solutions"),
        ("taco", {"input_output": ""}, "missing field: input_output"),
        ("taco", {"input_output": "[]"}, "wrong type: input_output"),
        ("taco", {"input_output": '{"inputs": ["1"], "outputs": []}'}, "broken tests: 1 inputs for 0"),
        ("taco", {"input_output": '{"inputs": [], "outputs": []}'}, "no tests"),
        ("taco", {"input_output": '{"inputs": [1], "outputs": [2]}'}, "broken tests: an input or output is no text"),
        ("taco", {"input_output": '{"fn_name": "f", "inputs": ["1"], "outputs": [2]}'}, "broken tests: the arguments"),
        ("taco", {"question": None}, "missing field: question"),
        ("taco", {"date": "soon"}, "no date"),
        ("apps", {"problem_id": "x"}, "wrong type: problem_id"),
        ("synthetic1", {"verification_info": '{"language": "rust", "test_cases": []}'}, "other language: rust"),
        ("synthetic1", {"gold_standard_solution": "none"}, "no reference"),
        ("code_contests", {"solutions": {"language": [2], "solution": ["int main(){}"]}}, "no reference"),
        ("code_contests", {"input_file": "in.txt"}, "reads files"),
        ("codeforces", {"official_tests_complete": False}, "incomplete tests"),
        ("codeforces", {"interaction_format": "Ask."}, "interactive"),
        ("codeforces", {"input_mode": "file"}, "reads files"),
        ("livecodebench", {"private_test_cases": "%%%"}, "broken tests: private_test_cases"),
        ("livecodebench", {"public_test_cases": '[{"testtype": "other"}]'}, "broken tests: of the kinds"),
        ("leetcode", {"entry_point": "main()"}, "no entry point"),
        ("leetcode", {"test": "assert True"}, "no tests"),
    ],
)
def test_what_a_row_lacks_is_said(adapter: str, change: dict[str, Any], reason: str) -> None:
    rows = {
        "taco": TACO, "apps": APPS, "synthetic1": SYNTHETIC1, "code_contests": CODE_CONTESTS,
        "codeforces": CODEFORCES, "livecodebench": LCB, "leetcode": LEETCODE,
    }  # fmt: skip
    with pytest.raises(UnusableRow, match=f"^{reason}"):
        adapt(adapter, {**rows[adapter], **change})
