"""How fast are near duplicates found, beside a plain loop over datasketch, and how does that grow?

python -m benchmarks.problems.duplicates
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.record import Claim, claim, head, peer, show, write
from reforge.config.problems import Near
from reforge.problems.duplicates import drop_duplicates, views_of
from reforge.problems.funnel import Entry
from reforge.records import Problem, TestCase

NEAR = Near(statement=0.9, tests=0.6)
PERMUTATIONS = 256
COMPARED, SIZES, ROUNDS = 100_000, (10_000, 50_000, 200_000), 3
COPIES = 0.05


def synthetic(count: int) -> list[Entry]:
    """Return problems of 40 words and 8 tests; one in twenty has the words of an earlier one, one in twenty its
    tests."""
    draw = random.Random(0)
    vocabulary = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgklmnprst"]
    problems: list[Problem] = []
    for number in range(count):
        words, tests = draw.choices(vocabulary, k=40), [draw.randrange(10**9) for _ in range(8)]
        cases = tuple(TestCase("stdin", f"{test}\n", f"{test % 97}\n") for test in tests)
        problem = Problem(str(number), " ".join(words), "", cases)
        if problems and draw.random() < 2 * COPIES:
            other = draw.choice(problems)
            same_words = draw.random() < 0.5
            statement, cases = (other.statement, cases) if same_words else (problem.statement, other.tests)
            problem = Problem(str(number), statement, "", cases)
        problems.append(problem)
    return [Entry("synthetic", line, problem) for line, problem in enumerate(problems, 1)]


def ours(entries: list[Entry]) -> int:
    return len(drop_duplicates(entries, NEAR)[1])


def plain_loop(entries: list[Entry]) -> int:
    """Count duplicates as datasketch's documentation shows it, with as many permutations and the same two views."""
    sys.path.append(str(peer("datasketch", ["datasketch==2.0.0"])))
    from datasketch import MinHash, MinHashLSH

    least = {"statement": NEAR.statement, "tests": NEAR.tests}
    indexes = {name: MinHashLSH(threshold=value, num_perm=PERMUTATIONS) for name, value in least.items()}
    found = 0
    for entry in entries:
        sketches = {}
        for name, view in views_of(entry.problem).items():
            sketches[name] = MinHash(num_perm=PERMUTATIONS)
            for item in view:
                sketches[name].update(item.encode())
        if any(index.query(sketches[name]) for name, index in indexes.items()):
            found += 1
            continue
        for name, index in indexes.items():
            index.insert(entry.problem.id, sketches[name])
    return found


def measured(way: Callable[[list[Entry]], int], count: int) -> dict[str, Any]:
    """Measure in a process of its own, whose memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return {"way": way.__name__, "problems": count, **pool.apply(_measure, (way, count))}


def _measure(way: Callable[[list[Entry]], int], count: int) -> dict[str, Any]:
    entries = synthetic(count)
    gc.freeze()  # as the stage does
    start = time.perf_counter()
    found = way(entries)
    seconds = time.perf_counter() - start
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return {"seconds": round(seconds, 2), "found": found, "gigabytes": round(gigabytes, 3)}


def main() -> None:
    runs = []
    for _ in range(ROUNDS):  # taking turns
        runs += [measured(ours, size) for size in (*SIZES, COMPARED)]
        runs.append(measured(plain_loop, COMPARED))
    claims = claims_of(runs)
    show(claims)
    write("problems_duplicates", claims, runs, head())


def claims_of(runs: list[dict[str, Any]]) -> list[Claim]:
    def seconds(way: str, problems: int) -> float:
        return float(median(run["seconds"] for run in runs if (run["way"], run["problems"]) == (way, problems)))

    ratio = seconds("plain_loop", COMPARED) / seconds("ours", COMPARED)
    growth = math.log(seconds("ours", SIZES[-1]) / seconds("ours", SIZES[0])) / math.log(SIZES[-1] / SIZES[0])
    memory = max(run["gigabytes"] for run in runs if run["problems"] == SIZES[-1])
    known = {run["way"]: run["found"] for run in runs if run["problems"] == COMPARED}
    return [
        claim(f"quicker than a plain datasketch loop on {COMPARED:,} problems", ratio, "times", "≥ 5", ratio >= 5),
        claim(f"exponent of the time's growth from {SIZES[0]:,} to {SIZES[-1]:,}", growth, "", "≤ 1.2", growth <= 1.2),
        claim(f"memory at {SIZES[-1]:,}, the problems included", memory, "GiB", "≤ 4", memory <= 4),
        claim(f"duplicates found, to those of the plain loop ({known['plain_loop']:,})", known["ours"], ""),
    ]


if __name__ == "__main__":
    main()
