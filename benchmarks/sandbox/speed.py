"""How fast is the sandbox, beside a fresh interpreter and EvalPlus' checker in one run, and do verdicts stay the same
however many programs run at once?   python -m benchmarks.sandbox.speed
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.record import ROOT, Claim, claim, head, mean_ratio, show, write
from benchmarks.sandbox import evalplus
from reforge.evaluation.statistics import mean_interval
from reforge.records import Problem, Status, TestCase
from reforge.sandbox.judge import Isolation, Judge, Limits
from reforge.sandbox.limits import MARGIN

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=20.0, memory_mb=512, output_kb=64)
ROUNDS, WORKERS, PAIRS = 15, 2, 7

SUM = Problem("sum", "", "", (TestCase("stdin", "1 2\n3\n", "6\n"),))
TRIVIAL = "a, b = map(int, input().split())\nprint(a + b + int(input()))\n"
NUMPY = f"import numpy as np\n{TRIVIAL}assert np.arange(3).sum() == 3\n"

JUDGE, FRESH = "judge", "fresh interpreter (-I -S)"
EVALPLUS, INNER = "EvalPlus' check_correctness", "EvalPlus' inner untrusted_check"
JUDGE_NUMPY, FRESH_NUMPY = "judge, numpy", "fresh interpreter, numpy"


def throughput() -> tuple[list[Claim], dict[str, Any]]:
    """Measure the programs a second of two workers each, in rounds in which the ways take turns."""
    count, few = 1200, 60
    with (
        Judge(LIMITS, WORKERS, minimum=Isolation.FULL) as plain,
        Judge(LIMITS, WORKERS, minimum=Isolation.FULL, packages=["numpy"]) as warm,
    ):
        ways: dict[str, Callable[[int], float]] = {
            JUDGE: lambda turn: judged(plain, TRIVIAL, count, turn),
            FRESH: lambda turn: fresh(["-I", "-S"], TRIVIAL, count),
            EVALPLUS: lambda turn: evalplus.checks_a_second("check_correctness", WORKERS),
            INNER: lambda turn: evalplus.checks_a_second("untrusted_check", WORKERS),
            JUDGE_NUMPY: lambda turn: judged(warm, NUMPY, count, turn),
            FRESH_NUMPY: lambda turn: fresh(["-I"], NUMPY, few),
        }
        runs: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(ROUNDS):
            for way, measure in ways.items():
                runs[way].append(round(measure(turn), 1))
    rate = {way: statistics.median(values) for way, values in runs.items()}  # to read; ratios are taken round by round
    claims = []
    goals = {(JUDGE, FRESH): 2.2, (JUDGE, EVALPLUS): 2.5, (JUDGE, INNER): None, (JUDGE_NUMPY, FRESH_NUMPY): 15}
    for (ours, peer), goal in goals.items():
        mean, low, high = mean_ratio([a / b for a, b in zip(runs[ours], runs[peer], strict=True)])
        pair = f"{ours} ({rate[ours]:.0f}) to {peer} ({rate[peer]:.0f})"
        text = f"programs a second at full isolation: {pair} (95% interval {low:.3g} to {high:.3g})"
        claims.append(claim(text, mean, "times", f"lower end ≥ {goal}" if goal else "", low >= goal if goal else None))
    return claims, {"programs a second": runs}


def judged(judge: Judge, program: str, count: int, turn: int) -> float:
    jobs = [(f"{program}# {turn} {number} {count}", SUM) for number in range(count)]
    start = time.perf_counter()
    verdicts = judge.judge_many(jobs)
    seconds = time.perf_counter() - start
    assert all(verdict.status is Status.ACCEPTED for verdict in verdicts), verdicts[0]
    return count / seconds


def fresh(flags: list[str], program: str, count: int) -> float:
    def one(_: int) -> None:
        command = [os.path.realpath(sys.executable) if "-S" in flags else sys.executable, *flags, "-c", program]
        done = subprocess.run(command, input="1 2\n3\n", capture_output=True, text=True, check=True)
        assert done.stdout == "6\n"

    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, range(count)))
    return count / (time.perf_counter() - start)


def cost() -> tuple[list[Claim], dict[str, Any]]:
    """Measure the CPU time of one program, all that the kernel counts for its process, and that of a fork that ends at
    once, in rounds in which the two take turns."""
    pairs = list[tuple[float, float]]()
    with Judge(LIMITS, 1, minimum=Isolation.FULL) as judge:
        for turn in range(ROUNDS):
            used = [judge.judge(f"{TRIVIAL}# {turn} {number}", SUM).cpu_seconds for number in range(100)]
            pairs.append((statistics.median(used), bare_fork()))
    warm, fork = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    mean, low, high = mean_ratio([one / other for one, other in pairs])
    both = f"a warm program ({1000 * warm:.2f} ms) to that of a bare fork ({1000 * fork:.2f} ms)"
    text = f"CPU time of {both} (95% interval {low:.3g} to {high:.3g})"
    return [claim(text, mean, "times", "upper end < 3", high < 3)], {"cpu seconds": pairs}


def bare_fork() -> float:
    """Return the CPU seconds of a fork that ends at once, of an interpreter with all that a fork-server has loaded."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import gc, importlib, os, statistics\nfrom reforge.sandbox.inside import server\n"
        "for name in server._WARM.split(): importlib.import_module(name)\ngc.collect(); gc.freeze()\n"
        "used = []\nfor _ in range(100):\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n"
        "    usage = os.wait4(pid, 0)[2]; used.append(usage.ru_utime + usage.ru_stime)\nprint(statistics.median(used))"
    )
    command = [sys.executable, "-s", "-P", "-S", "-c", code, str(ROOT / "src")]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def endless() -> tuple[list[Claim], dict[str, Any]]:
    """Measure the seconds that 1,000 programs take longer because one of them never ends, in pairs."""
    programs = 1000

    def seconds(first: str, turn: str) -> float:
        jobs = [(f"{first}# {turn}", SUM), *((f"{TRIVIAL}# {turn} {number}", SUM) for number in range(programs - 1))]
        start = time.perf_counter()
        judge.judge_many(jobs)
        return time.perf_counter() - start

    with Judge(LIMITS, WORKERS, minimum=Isolation.FULL) as judge:
        pairs = [(seconds("while True: pass\n", f"{n}"), seconds(TRIVIAL, f"{n} sane")) for n in range(PAIRS)]
    delay = mean_interval([slow - quick for slow, quick in pairs], 0.95, bounds=(-60.0, 60.0))
    stop = MARGIN * LIMITS.cpu_seconds
    text = (
        f"a `while True` among {programs:,} programs delays them by (it is stopped after {stop:g} s of CPU time; 95% "
        f"interval {delay.low:.3g} to {delay.high:.3g})"
    )
    met = delay.high <= stop
    return [claim(text, delay.value, "s", f"upper end ≤ {stop:g}", met)], {"seconds with and without": pairs}


def load() -> tuple[list[Claim], dict[str, Any]]:
    """Compare the verdicts on 300 programs, 60 of them near the limit, with one grader and with four times as many as
    cores, each twice."""
    limits = Limits(cpu_seconds=0.3, wall_seconds=30.0, memory_mb=512, output_kb=64)
    near = [0.5, 0.6, 0.7, 0.8, 1.2, 1.3, 1.4, 1.5]  # shares of the limit
    programs = [f"{TRIVIAL}# {number}" for number in range(240)]
    programs += [
        f"import time\nwhile time.process_time() < {near[number % 8] * limits.cpu_seconds}: pass\n{TRIVIAL}# {number}"
        for number in range(60)
    ]
    random.Random(0).shuffle(programs)
    graders = {"alone": 1, "crowded": 4 * (os.cpu_count() or 1)}
    statuses: dict[str, list[list[str]]] = {}
    for name in [*graders, *graders]:
        with Judge(limits, graders[name], minimum=Isolation.FULL) as judge:
            verdicts = judge.judge_many([(program, SUM) for program in programs])
        statuses.setdefault(name, []).append([str(verdict.status) for verdict in verdicts])
    first = statuses["alone"][0]
    different = sum(a != b for runs in statuses.values() for run in runs for a, b in zip(first, run, strict=True))
    text = f"verdicts that differ between 1 grader and {graders['crowded']} on {os.cpu_count()} cores, two runs of each"
    counts = {
        name: [{kind: run.count(kind) for kind in sorted(set(run))} for run in runs] for name, runs in statuses.items()
    }
    return [claim(text, different, f"of {len(programs)}", "0", different == 0)], {"verdicts": counts}


def main() -> None:
    claims: list[Claim] = []
    runs = []
    for part in (throughput, cost, endless, load):
        found, raw = part()
        show(found)
        claims += found
        runs.append({"part": part.__name__, **raw})
    write("sandbox_speed", claims, runs, head())


if __name__ == "__main__":
    main()
