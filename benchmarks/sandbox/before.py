"""Is the sandbox as fast as at an earlier commit? Both take turns in one run, kind of test by kind of test.

    python -m benchmarks.sandbox.before COMMIT

Each measurement is a process of its own that imports either source tree, judges the same programs with two workers at
full isolation and says how many it judged a second. The goal stands for the worse end of a 95% interval over rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.record import ROOT, Claim, claim, head, mean_ratio, show, write

ROUNDS = 25
GOAL = 0.95
KINDS = ("stdin", "stdin, writes a file", "call", "assert, compared outside", "assert, other code", "numpy")
# This program uses only what both trees have in common.
MEASURE = """
import sys, time
from reforge.sandbox.judge import Isolation, Judge, Limits
try:
    from reforge.records import Problem, TestCase
except ModuleNotFoundError:  # its name until 736a506
    from reforge.types import Problem, TestCase

kind, turn, count = sys.argv[1], sys.argv[2], 600
call = [TestCase("call", "[[3, 1, 2]]", "[1, 2, 3]")]
outside = [TestCase("assert", "assert f([3, 1, 2]) == [1, 2, 3]")]
code = [TestCase("assert", "for n in range(3):\\n    assert f(list(range(n))[::-1]) == list(range(n))")]
stdin = [TestCase("stdin", "3 1 2", "1 2 3")]
tests = {"call": call, "assert, compared outside": outside, "assert, other code": code}
function = "def f(values):\\n    return sorted(values)\\n"
printed = "print(*sorted(map(int, input().split())))\\n"
filed = "with open('a', 'w') as file: file.write('b')\\n" + printed
numbers = "import numpy\\nassert numpy.arange(3).sum() == 3\\n" + printed
programs = {"stdin": printed, "stdin, writes a file": filed, "numpy": numbers}
problem = Problem("sort", "", "", tuple(tests.get(kind, stdin)), entry_point="" if kind in programs else "f")
limits = Limits(cpu_seconds=2.0, wall_seconds=20.0, memory_mb=512, output_kb=64)
with Judge(limits, 2, minimum=Isolation.FULL, packages=["numpy"] * (kind == "numpy")) as judge:
    def judged(count, name):
        program = programs.get(kind, function)
        verdicts = judge.judge_many([(f"{program}# {name} {turn} {n}", problem) for n in range(count)])
        assert all(verdict.status == "AC" for verdict in verdicts), verdicts[0]
    judged(20, "warm")
    start = time.perf_counter()
    judged(count, "measured")
    print(count / (time.perf_counter() - start))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    commit = head_of(parser.parse_args().commit)
    trees = {"before": checked_out(commit), "now": ROOT / "src"}
    runs = []
    for turn in range(ROUNDS):
        for kind in KINDS:
            order = list(trees) if turn % 2 else list(reversed(trees))
            rates = {name: programs_a_second(trees[name], kind, turn) for name in order}
            runs.append({"kind": kind, "round": turn, **{name: round(rates[name], 1) for name in trees}})
            print(runs[-1], flush=True)
    claims = [compared(kind, [run["now"] / run["before"] for run in runs if run["kind"] == kind]) for kind in KINDS]  # type: ignore[operator]
    show(claims)
    write("sandbox_before", claims, [{"before": commit}, *runs], head(), commit)


def compared(kind: str, ratios: list[float]) -> Claim:
    mean, low, high = mean_ratio(ratios)
    text = f"{kind}: programs a second, now to before (95% interval {low:.3f} to {high:.3f})"
    return claim(text, mean, "times", f"lower end ≥ {GOAL}", low >= GOAL)


def programs_a_second(tree: Path, kind: str, turn: int) -> float:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", MEASURE, kind, str(turn)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def checked_out(commit: str) -> Path:
    """Return the sources of that commit, checked out below .scratch/."""
    folder = ROOT / ".scratch" / "before" / commit
    folder.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive, check=True)
    return folder / "src"


def head_of(commit: str) -> str:
    command = ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
