"""Do verdicts near the time limit depend on who runs beside? 60 programs that use 0.9 to 1.1 of their limit, judged
five times by 8 graders while every core is kept busy.   python -m benchmarks.sandbox.stability
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.record import Claim, claim, head, show, write
from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=60.0, memory_mb=256, output_kb=64)
ECHO = Problem("echo", "", "", (TestCase("stdin", "1", "1"),))
PROGRAMS, ROUNDS, GRADERS = 60, 5, 8
EDGE = (0.98, 1.05)  # shares of the limit: in between, the CPU time decides, and it differs from run to run


def program(share: float, number: int, limit: float) -> str:
    return f"import time\nwhile time.process_time() < {share * limit}: pass\nprint(1)\n# {number}"


def judged(shares: list[float], rounds: int, limits: Limits) -> list[list[tuple[str, float]]]:
    """Return status and CPU seconds of each program in each round. Each round has a new judge with an empty cache."""
    found = []
    for turn in range(rounds):
        order = list(range(len(shares)))
        random.Random(turn).shuffle(order)
        with Judge(limits, GRADERS) as judge:
            verdicts = judge.judge_many([(program(shares[n], n, limits.cpu_seconds), ECHO) for n in order])
        of = dict(zip(order, verdicts, strict=True))
        found.append([(str(of[n].status), of[n].cpu_seconds) for n in range(len(shares))])
    return found


def claims_of(shares: list[float], rounds: list[list[tuple[str, float]]], limit: float) -> list[Claim]:
    flips, edge, undecided = 0, 0, 0
    for number, share in enumerate(shares):
        said = [found[number] for found in rounds]
        differs = len({status for status, _ in said}) > 1
        inside = EDGE[0] <= share <= EDGE[1]
        flips += differs and not inside
        edge += differs and inside
        undecided += sum((status == Status.ACCEPTED) != (seconds <= limit) for status, seconds in said)
    return [
        claim(f"verdicts that differ, used outside {EDGE[0]} to {EDGE[1]} of the limit", flips, "", "0", flips == 0),
        claim("verdicts that differ, used inside of it", edge, f"of {sum(EDGE[0] <= s <= EDGE[1] for s in shares)}"),
        claim("verdicts that are not what their CPU time says", undecided, "", "0", undecided == 0),
    ]


@contextmanager
def busy() -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=int, default=PROGRAMS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    shares = [round(0.9 + 0.2 * number / (given.programs - 1), 4) for number in range(given.programs)]
    with busy():
        rounds = judged(shares, given.rounds, LIMITS)
    claims = claims_of(shares, rounds, LIMITS.cpu_seconds)
    show(claims)
    runs: list[dict[str, Any]] = [{"shares": shares}, *({"status and CPU seconds": found} for found in rounds)]
    if (given.programs, given.rounds) == (PROGRAMS, ROUNDS):
        write("sandbox_stability", claims, runs, head())


if __name__ == "__main__":
    main()
