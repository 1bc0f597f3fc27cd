"""What does the sandbox cost where reference programs are verified? Their own CPU time is the limit.

python -m benchmarks.problems.verification
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any

from benchmarks.problems.resumed import rows
from benchmarks.record import SHARED, Claim, claim, head, show, write
from reforge.config.problems import Verification
from reforge.problems.adapters import adapt
from reforge.problems.funnel import Entry
from reforge.problems.verify import verify
from reforge.records import Problem
from reforge.sandbox.judge import Isolation, Judge, Limits

ONCE = Verification(references=1, runs=1, several_answers="keep")
LIMITS = Limits(cpu_seconds=20.0, wall_seconds=60.0, memory_mb=512, output_kb=64, budget_seconds=200.0)
WORKERS, ROUNDS = 2, 5
COUNT, TURNS = 60, 1_500_000  # programs with 5 tests each, and how long each test's loop is


def own_seconds(problems: list[Problem]) -> float:
    """Return the CPU time of the programs alone: in this interpreter, without a start, a sandbox or a comparison."""
    stdin, start = sys.stdin, time.process_time()
    try:
        for problem in problems:
            program = compile(problem.solution, "program.py", "exec")
            for test in problem.tests:
                sys.stdin = io.StringIO(test.input)
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(program, {"__name__": "__main__"})
        return time.process_time() - start
    finally:
        sys.stdin = stdin


def verified_seconds(problems: list[Problem]) -> float:
    entries = [Entry("set", line, problem) for line, problem in enumerate(problems, 1)]
    with Judge(LIMITS, WORKERS, minimum=Isolation.FULL) as judge:
        start = time.perf_counter()
        kept, dropped = verify(entries, judge, ONCE, LIMITS.cpu_seconds, WORKERS)
        seconds = time.perf_counter() - start
    assert len(kept) == len(problems), dropped[:3]
    return seconds


def main() -> None:
    half = COUNT // 2
    contests = [adapt("reforge", {**row, "solution": row["alternatives"][0]}) for row in rows(COUNT, TURNS)]
    mbpp = [adapt("mbpp", json.loads(line)) for line in (SHARED / "data/mbpp/mbpp.jsonl").open()][:400]
    runs: list[dict[str, Any]] = []
    for _ in range(ROUNDS):  # taking turns
        with ProcessPoolExecutor(WORKERS) as pool:  # as many as there will be: cores that share a cache slow each other
            own = list(pool.map(own_seconds, [contests[:half], contests[half:]]))
        runs.append({"own_seconds": sum(own), "seconds": verified_seconds(contests)})
        runs.append({"mbpp_seconds": verified_seconds(mbpp), "problems": len(mbpp)})
    claims = claims_of(runs)
    show(claims)
    write("problems_verification", claims, [{k: round(v, 3) for k, v in run.items()} for run in runs], head())


def claims_of(runs: list[dict[str, Any]]) -> list[Claim]:
    timed = [run for run in runs if "own_seconds" in run]
    over = median(100 * (WORKERS * run["seconds"] / run["own_seconds"] - 1) for run in timed)
    each = median(1000 * run["own_seconds"] / (COUNT * 5) for run in timed)
    small = median(1000 * WORKERS * run["mbpp_seconds"] / run["problems"] for run in runs if "mbpp_seconds" in run)
    return [
        claim(
            f"more than the programs' own CPU time, {each:.0f} ms a test, on both cores", over, "%", "< 20", over < 20
        ),
        claim("a core's time for an MBPP reference, its own included", small, "ms"),
    ]


if __name__ == "__main__":
    main()
