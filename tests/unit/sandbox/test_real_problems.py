"""Published problems, as an adapter would hand them over: references pass, programs that answer nothing do not."""

import gzip
import json
from pathlib import Path

import pytest

from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Judge, Limits


@pytest.fixture(scope="module")
def human_eval(shared: Path) -> list[Problem]:
    with gzip.open(shared / "data" / "humaneval" / "HumanEval.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    return [
        Problem(
            id=row["task_id"],
            statement="",
            solution=row["prompt"] + row["canonical_solution"],
            tests=(TestCase("assert", f"{row['test']}\ncheck({row['entry_point']})\n"),),
            entry_point=row["entry_point"],
            setup=row["prompt"],  # HumanEval/32, 38 and 50 have helpers there that their tests use
        )
        for row in rows
    ]


def test_human_eval(human_eval: list[Problem]) -> None:
    some = [problem for number, problem in enumerate(human_eval) if number % 16 == 0 or number in (38, 50)]
    assert len(some) == 13
    with Judge(Limits(3.0, 30.0, 512, 256), workers=2) as judge:
        references = judge.judge_many([(problem.solution, problem) for problem in some])
        empty = judge.judge_many([(f"def {problem.entry_point}(*a): return None", problem) for problem in some])
        # the tests' process has the stub of the prompt under the same name: it must not stand in for the program
        missing = judge.judge_many([("", problem) for problem in some])
    assert {verdict.status for verdict in references} == {Status.ACCEPTED}
    assert {verdict.status for verdict in empty} == {Status.WRONG_ANSWER}
    assert {verdict.status for verdict in missing} == {Status.RUNTIME_ERROR}
