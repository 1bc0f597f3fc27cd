"""Published reference programs against published tests: all must be accepted. Their mutants: accepted if and only if
they do the same.   python -m benchmarks.sandbox.references

The problem sets are read from REFORGE_SHARED (default ../shared), as the tests read them.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.record import SHARED, Claim, claim, head, show, write
from benchmarks.sandbox import evalplus
from benchmarks.sandbox.mutants import agreement, mutants_of, plain_run
from reforge.problems.adapters import adapt
from reforge.records import Problem, Status, TestCase
from reforge.sandbox import wire
from reforge.sandbox.judge import Isolation, Judge, Limits

# some inputs of HumanEval+ and MBPP+ take seconds, or are answered by gigabytes
PATIENT = Limits(cpu_seconds=60.0, wall_seconds=300.0, memory_mb=8192, output_kb=1 << 18)
BRISK = Limits(cpu_seconds=2.0, wall_seconds=30.0, memory_mb=1024, output_kb=1 << 12)  # many mutants never end
LONGEST = 1 << 28  # bytes of a call's arguments, and of what it returns
WORKERS = 2


def main() -> None:
    sets = {"HumanEval": list(human_eval()), "MBPP": list(mbpp())}
    left_out: list[str] = []
    sets["HumanEval+"] = list(plus("humanevalplus/HumanEvalPlus", left_out))
    sets["MBPP+"] = list(plus("mbppplus/MbppPlus", left_out))
    found = [references(name, problems) for name, problems in sets.items()]
    found.append(mutants(sets["HumanEval+"] + sets["MBPP+"]))
    claims = [item for part, _ in found for item in part]
    text = f"inputs of those left out, as their answer has more than {LONGEST >> 20} MB"
    claims.append(claim(text, len(left_out), "", "0", not left_out))
    write("sandbox_references", claims, [*(run for _, run in found), {"left out": left_out}], head())


def references(name: str, problems: Sequence[Problem]) -> tuple[list[Claim], dict[str, Any]]:
    with Judge(PATIENT, WORKERS, minimum=Isolation.FULL) as judge:
        verdicts = judge.judge_many([(problem.solution, problem) for problem in problems])
    failed = {
        problem.id: f"{verdict.status} {verdict.reason}"
        for problem, verdict in zip(problems, verdicts, strict=True)
        if verdict.status is not Status.ACCEPTED
    }
    tests, count = sum(len(problem.tests) for problem in problems), len(problems)
    claims = [claim(f"{name}: references accepted on {tests:,} tests", count - len(failed), "", f"{count}", not failed)]
    show(claims)
    print(*failed.items(), sep="\n", flush=True)
    return claims, {"set": name, "tests": tests, "failed": failed}


def human_eval() -> Iterator[Problem]:
    with gzip.open(SHARED / "data" / "humaneval" / "HumanEval.jsonl.gz", "rt") as file:
        for line in file:
            yield adapt("humaneval", json.loads(line))


def mbpp() -> Iterator[Problem]:
    for line in (SHARED / "data" / "mbpp" / "mbpp.jsonl").read_text().splitlines():
        yield adapt("mbpp", json.loads(line))


def plus(name: str, left_out: list[str]) -> Iterator[Problem]:
    """Yield EvalPlus' problems, with the inputs read by EvalPlus' own code where they stand for more than JSON. What is
    expected is what the reference returns in a plain interpreter; of three tasks, as EvalPlus has it, only whether that
    is None.
    """
    sys.path.append(str(evalplus.installed()))
    from evalplus.data.mbpp import mbpp_deserialize_inputs
    from evalplus.eval import MBPP_OUTPUT_NOT_NONE_TASKS

    with gzip.open(SHARED / "data" / f"{name}.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        given = row["base_input"] + list(row["plus_input"] or [])
        if name.startswith("mbpp"):
            given = mbpp_deserialize_inputs(row["task_id"], given)
        solution, entry = row["prompt"] + row["canonical_solution"], row["entry_point"]
        if name.startswith("mbpp") and entry in MBPP_OUTPUT_NOT_NONE_TASKS:
            solution += f"\n\ndef not_none(*arguments):\n    return {entry}(*arguments) is not None\n"
            entry = "not_none"
        inputs = [wire.dumps(list(arguments), LONGEST) for arguments in given]
        returned = plain_run(solution, entry, inputs, seconds=120)
        tests = []
        for number, (asked, said) in enumerate(zip(inputs, returned, strict=True)):
            if said is None:
                left_out.append(f"{row['task_id']}, input {number}")
            else:
                tests.append(TestCase("call", asked, said))
        yield Problem(row["task_id"], "", solution, tuple(tests), entry_point=entry)


def mutants(problems: Sequence[Problem], tests: int = 40, each: int = 6) -> tuple[list[Claim], dict[str, Any]]:
    draw = random.Random(0)
    jobs: list[tuple[str, Problem]] = []
    for problem in problems:
        found = mutants_of(problem.solution)
        short = dataclasses.replace(problem, tests=problem.tests[:tests])
        jobs += [(mutant, short) for mutant in draw.sample(found, min(each, len(found)))]

    def truth(job: tuple[str, Problem]) -> str:
        mutant, problem = job
        said = plain_run(mutant, problem.entry_point, [test.input for test in problem.tests], seconds=3)
        return agreement(said, [test.expected for test in problem.tests])

    with ThreadPoolExecutor(WORKERS) as pool:
        known = list(pool.map(truth, jobs))
    with Judge(BRISK, WORKERS, minimum=Isolation.FULL) as judge:
        statuses = [verdict.status for verdict in judge.judge_many(jobs)]
    counts = Counter(f"{agreed}: {status}" for agreed, status in zip(known, statuses, strict=True))
    different, same = known.count("other"), known.count("same")
    passed, failed = counts[f"other: {Status.ACCEPTED}"], counts[f"same: {Status.WRONG_ANSWER}"]
    claims = [
        claim("mutants of the references of HumanEval+ and MBPP+", len(jobs), "programs", "≥ 2000", len(jobs) >= 2000),
        claim("accepted though their output differs", passed, f"of {different:,}", "0", not passed),
        claim("rejected as wrong though they agree everywhere", failed, f"of {same:,}", "0", not failed),
    ]
    show(claims)
    suspect = [
        {"id": problem.id, "program": mutant, "truth": agreed, "verdict": str(status)}
        for (mutant, problem), agreed, status in zip(jobs, known, statuses, strict=True)
        if (agreed, status) in (("other", Status.ACCEPTED), ("same", Status.WRONG_ANSWER))
    ]
    return claims, {"truth and verdict of mutants": counts, "suspect": suspect}


if __name__ == "__main__":
    main()
