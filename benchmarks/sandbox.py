"""Is the sandbox fast, steady and right? Measured beside a fresh interpreter and EvalPlus' checker, in one run.

    python benchmarks/sandbox.py                 all parts, into benchmarks/results/sandbox.json
    python benchmarks/sandbox.py speed load      these parts; the others' last results stay

The problem sets are read from REFORGE_SHARED (default ../shared) as the tests read them. EvalPlus is installed from
PyPI into .scratch/evalplus the first time.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.road import ROOT, hardware
from reforge.problems.adapters import adapt
from reforge.sandbox import wire
from reforge.sandbox.judge import Isolation, Judge, Limits
from reforge.types import Problem, Status, TestCase, Verdict

RESULTS = ROOT / "benchmarks" / "results" / "sandbox.json"
SHARED = Path(os.environ.get("REFORGE_SHARED", ROOT.parent / "shared"))
LIMITS = Limits(cpu_seconds=1.0, wall_seconds=20.0, memory_mb=512, output_kb=64)
PATIENT = Limits(cpu_seconds=8.0, wall_seconds=60.0, memory_mb=2048, output_kb=1 << 14)
ROUNDS, WORKERS = 5, 2
Claim = dict[str, Any]

SUM = Problem("sum", "", "", (TestCase("stdin", "1 2\n3\n", "6\n"),))
TRIVIAL = "a, b = map(int, input().split())\nprint(a + b + int(input()))\n"
NUMPY = f"import numpy as np\n{TRIVIAL}assert np.arange(3).sum() == 3\n"


def claim(text: str, value: float, unit: str, goal: str, met: bool) -> Claim:
    return {"claim": text, "value": round(value, 3), "unit": unit, "goal": goal, "met": met}


# --- speed --------------------------------------------------------------------------------------------------------


def speed() -> dict[str, Any]:
    """Programs a second of two workers each, alternating, and the median of the rounds."""
    count, few = 400, 60
    with (
        Judge(LIMITS, WORKERS, minimum=Isolation.FULL) as plain,
        Judge(LIMITS, WORKERS, minimum=Isolation.FULL, packages=["numpy"]) as warm,
        EvalPlus() as evalplus,
    ):
        ways: dict[str, Callable[[int], float]] = {
            "judge": lambda turn: judged(plain, TRIVIAL, count, turn),
            "fresh interpreter (-I -S)": lambda turn: fresh(["-I", "-S"], TRIVIAL, count),
            "EvalPlus' checker": lambda turn: evalplus.rate(),
            "judge, numpy": lambda turn: judged(warm, NUMPY, count, turn),
            "fresh interpreter, numpy": lambda turn: fresh(["-I"], NUMPY, few),
        }
        runs = {way: [measure(turn) for turn in range(ROUNDS)] for way, measure in ways.items()}
        cpu = statistics.median(plain.judge(f"{TRIVIAL}# {turn} cpu", SUM).cpu_seconds for turn in range(200))
        delay = loop_delay(plain)
    rate = {way: statistics.median(values) for way, values in runs.items()}
    fork = bare_fork()
    stop = 2 * LIMITS.cpu_seconds
    ratios = {
        "programs a second, judge at full isolation to a fresh interpreter (-I -S)": ("fresh interpreter (-I -S)", 2.2),
        "programs a second, judge at full isolation to EvalPlus' checker": ("EvalPlus' checker", 2.5),
    }
    claims = [
        claim(text, rate["judge"] / rate[peer], "times", f"≥ {goal}", rate["judge"] / rate[peer] >= goal)
        for text, (peer, goal) in ratios.items()
    ]
    ratio = rate["judge, numpy"] / rate["fresh interpreter, numpy"]
    claims += [
        claim("the same where programs import numpy, to a fresh interpreter", ratio, "times", "≥ 15", ratio >= 15),
        claim("CPU time of a warm program to that of a bare fork", cpu / fork, "times", "< 3", cpu / fork < 3),
        claim(
            f"a `while True` among 1,000 programs delays all by (it is stopped after {stop:g} s of CPU time)",
            delay,
            "s",
            f"≤ {stop:g}",
            delay <= stop,
        ),
    ]
    return {"claims": claims, "runs": runs, "cpu_seconds": {"warm program": cpu, "bare fork": fork}}


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


def loop_delay(judge: Judge) -> float:
    """Seconds that 1,000 programs take longer because one of them never ends."""

    def seconds(first: str, turn: str) -> float:
        jobs = [(first, SUM), *((f"{TRIVIAL}# {turn} {number}", SUM) for number in range(999))]
        start = time.perf_counter()
        judge.judge_many(jobs)
        return time.perf_counter() - start

    return seconds("while True: pass", "loop") - seconds(f"{TRIVIAL}# no loop", "no loop")


def bare_fork() -> float:
    """CPU seconds of a fork that ends at once, from an interpreter that has loaded what a fork-server has."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import gc, os, statistics\nfrom reforge.sandbox.server import _warm_up\n"
        "_warm_up([])\ngc.collect(); gc.freeze()\n"
        "used = []\nfor _ in range(500):\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n"
        "    usage = os.wait4(pid, 0)[2]; used.append(usage.ru_utime + usage.ru_stime)\nprint(statistics.median(used))"
    )
    command = [sys.executable, "-s", "-P", "-S", "-c", code, str(ROOT / "src")]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peers() -> Path:
    """A folder with EvalPlus in it."""
    folder = ROOT / ".scratch" / "evalplus"
    if not (folder / "evalplus").is_dir():
        needed = ["wget", "appdirs", "tempdir", "multipledispatch", "termcolor", "fire", "stop-sequencer"]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, "evalplus==0.3.1", *needed], check=True)
    return folder


class EvalPlus:
    """EvalPlus' own `untrusted_check` in an interpreter of its own, two processes of it as its command line has."""

    CODE = (
        "import sys, time\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "from evalplus.eval import PASS, untrusted_check\n"
        "def one(n):\n"
        "    program = 'def f(a, b, c):\\n    return a + b + c'\n"
        "    status, _ = untrusted_check('humaneval', program, [[1, 2, 3]], 'f', [6], 0, [0.1], fast_check=True)\n"
        "    assert status == PASS, status\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2) as pool:\n        list(pool.map(one, range(4)))\n"
        "        start = time.perf_counter()\n        list(pool.map(one, range(200)))\n"
        "        print(200 / (time.perf_counter() - start))\n"
    )

    def __enter__(self) -> EvalPlus:
        self.folder = peers()
        self.script = self.folder / "rate.py"
        self.script.write_text(self.CODE)
        return self

    def __exit__(self, *_: object) -> None:
        self.script.unlink()

    def rate(self) -> float:
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        done = subprocess.run(
            [sys.executable, str(self.script)], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return float(done.stdout)


# --- load ---------------------------------------------------------------------------------------------------------


def load() -> dict[str, Any]:
    """300 programs, 60 of them near the limit, alone and with four times as many graders as cores, each twice."""
    limits = Limits(cpu_seconds=0.3, wall_seconds=30.0, memory_mb=512, output_kb=64)
    near = [0.5, 0.6, 0.7, 0.8, 1.2, 1.3, 1.4, 1.5]  # of the limit
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
    text = (
        f"verdicts that differ between 1 and {graders['crowded']} graders on {os.cpu_count()} cores, two runs of each"
    )
    counts = {
        name: [{kind: run.count(kind) for kind in sorted(set(run))} for run in runs] for name, runs in statuses.items()
    }
    return {"claims": [claim(text, different, "of 300", "0", different == 0)], "runs": counts}


# --- real references and their mutants ----------------------------------------------------------------------------


def references() -> dict[str, Any]:
    """Published reference programs against published tests: all must be accepted."""
    sets = {"HumanEval": list(human_eval()), "MBPP": list(mbpp())}
    sets |= {"HumanEval+": list(plus("humanevalplus/HumanEvalPlus")), "MBPP+": list(plus("mbppplus/MbppPlus"))}
    claims, failures = [], {}
    with Judge(PATIENT, WORKERS, minimum=Isolation.FULL) as judge:
        for name, problems in sets.items():
            verdicts = judge.judge_many([(problem.solution, problem) for problem in problems])
            failed = {
                problem.id: f"{verdict.status} {verdict.reason}"
                for problem, verdict in zip(problems, verdicts, strict=True)
                if verdict.status is not Status.ACCEPTED
            }
            calls = sum(len(problem.tests) for problem in problems)
            text = f"{name}: references accepted, {calls} tests"
            claims.append(
                claim(text, len(problems) - len(failed), f"of {len(problems)}", f"{len(problems)}", not failed)
            )
            failures[name] = failed
        mutated = mutants(judge, sets["HumanEval+"] + sets["MBPP+"])
    return {"claims": claims + mutated.pop("claims"), "failures": failures, "mutants": mutated}


def human_eval() -> Iterator[Problem]:
    with gzip.open(SHARED / "data" / "humaneval" / "HumanEval.jsonl.gz", "rt") as file:
        for line in file:
            yield adapt("humaneval", json.loads(line))


def mbpp() -> Iterator[Problem]:
    for line in (SHARED / "data" / "mbpp" / "mbpp.jsonl").read_text().splitlines():
        yield adapt("mbpp", json.loads(line))


def plus(name: str) -> Iterator[Problem]:
    """EvalPlus' inputs, read by EvalPlus' own code where they stand for more than JSON. What is expected is what the
    reference returns in a plain interpreter; calls that raise there, or return an object, are left out and counted.
    """
    sys.path.append(str(peers()))
    from evalplus.data.mbpp import mbpp_deserialize_inputs

    with gzip.open(SHARED / "data" / f"{name}.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        given = row["base_input"] + list(row["plus_input"] or [])
        if name.startswith("mbpp"):
            given = mbpp_deserialize_inputs(row["task_id"], given)
        solution = row["prompt"] + row["canonical_solution"]
        inputs = [wire.dumps(list(arguments), 1 << 26) for arguments in given]
        returned = plain_run(solution, row["entry_point"], inputs)
        tests = tuple(TestCase("call", asked, said) for asked, said in zip(inputs, returned, strict=True) if said)
        yield Problem(row["task_id"], "", solution, tests, entry_point=row["entry_point"])


PLAIN = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
sys.set_int_max_str_digits(0)
from reforge.sandbox import wire
wire.MAX_INT_BITS = 1 << 20
job = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"]))
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
scope = {"__name__": "program"}
said = []
try:
    exec(compile(job["program"], "program.py", "exec"), scope)
    for asked in job["inputs"]:
        try:
            said.append(wire.dumps(scope[job["entry"]](*wire.loads(asked)), 1 << 26))
        except Exception:
            said.append(None)
finally:
    print(json.dumps(said + [None] * (len(job["inputs"]) - len(said))))
"""


def plain_run(program: str, entry: str, inputs: Sequence[str], seconds: int = 120) -> list[str | None]:
    """What a program returns for each input in an interpreter of its own, without any sandbox; None: nothing plain."""
    job = json.dumps({"program": program, "entry": entry, "inputs": list(inputs), "seconds": seconds})
    command = [sys.executable, "-c", PLAIN, str(ROOT / "src")]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, input=job, capture_output=True, text=True, env=environment, check=False)
    try:
        return list(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):  # killed: it said nothing
        return [None] * len(inputs)


# Each is one change that a careless programmer might make.
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Div: ast.FloorDiv, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def mutants_of(program: str) -> list[str]:
    """Every program that differs in one operator, constant or returned value."""
    places = [number for number, node in enumerate(ast.walk(ast.parse(program))) if mutated(node) is not None]
    changed = []
    for place in places:
        tree = ast.parse(program)
        node = list(ast.walk(tree))[place]
        change = mutated(node)
        assert change is not None
        for name, value in change.items():
            setattr(node, name, value)
        changed.append(ast.unparse(tree))
    return changed


def mutated(node: ast.AST) -> dict[str, Any] | None:
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        return {"op": SWAPS[type(node.op)]()}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        return {"ops": [SWAPS[type(node.ops[0])](), *node.ops[1:]]}
    if isinstance(node, ast.Constant) and type(node.value) in (int, bool):
        return {"value": node.value + 1 if type(node.value) is int else not node.value}
    if isinstance(node, ast.Return) and node.value is not None:
        return {"value": ast.List([node.value], ast.Load())}
    return None


def mutants(judge: Judge, problems: Sequence[Problem], tests: int = 40, each: int = 6) -> dict[str, Any]:
    """Right and wrong are settled by `plain_run`, without the sandbox, its channel and its checker."""
    draw = random.Random(0)
    jobs: list[tuple[str, Problem]] = []
    for problem in problems:
        found = mutants_of(problem.solution)
        short = dataclasses.replace(problem, tests=problem.tests[:tests])
        if short.tests:
            jobs += [(mutant, short) for mutant in draw.sample(found, min(each, len(found)))]
    with ThreadPoolExecutor(WORKERS) as pool:
        said = list(
            pool.map(lambda job: plain_run(job[0], job[1].entry_point, [t.input for t in job[1].tests], 5), jobs)
        )
    verdicts = judge.judge_many(jobs)
    truth = [agreement(answers, problem) for answers, (_, problem) in zip(said, jobs, strict=True)]
    pairs = list(zip(truth, verdicts, jobs, strict=True))
    passed = [f"{job[1].id}: {job[0]}" for known, verdict, job in pairs if known == "other" and accepted(verdict)]
    failed = [f"{job[1].id}: {job[0]}" for known, verdict, job in pairs if known == "same" and wrong(verdict)]
    counts = {known: truth.count(known) for known in ("same", "close", "other")}
    return {
        "counts": counts,
        "wrongly accepted": passed,
        "wrongly rejected": failed,
        "claims": [
            claim(
                "mutants of the references of HumanEval+ and MBPP+", len(jobs), "programs", "≥ 2000", len(jobs) >= 2000
            ),
            claim("accepted though their output differs", len(passed), f"of {counts['other']}", "0", not passed),
            claim(
                "rejected as wrong though they agree everywhere", len(failed), f"of {counts['same']}", "0", not failed
            ),
        ],
    }


def accepted(verdict: Verdict) -> bool:
    return verdict.status is Status.ACCEPTED


def wrong(verdict: Verdict) -> bool:
    return verdict.status is Status.WRONG_ANSWER


def agreement(answers: Sequence[str | None], problem: Problem) -> str:
    """same: equal in type and value everywhere. other: not even close somewhere. close: in between, where a checker
    may decide either way (rounding, a list for a tuple, an int for a float)."""
    levels = [nearness(answer, test.expected) for answer, test in zip(answers, problem.tests, strict=True)]
    return ("same", "close", "other")[max(levels)]


def nearness(answer: str | None, expected: str) -> int:
    if answer is None:
        return 2
    left, right = wire.loads(answer), wire.loads(expected)
    if answer == expected or (type(left) is type(right) and isinstance(left, set | frozenset | dict) and left == right):
        return 0
    return 1 if loose(left) == loose(right) else 2


def loose(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str | bytes):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        return ("number", "nan" if value != value else float(f"{value:.4g}") if abs(value) < 1e300 else str(value))
    if isinstance(value, list | tuple):
        return [loose(item) for item in value]
    if isinstance(value, dict):
        return sorted(((repr(loose(key)), loose(item)) for key, item in value.items()), key=repr)
    if isinstance(value, set | frozenset):
        return sorted(repr(loose(item)) for item in value)
    return repr(value)


# --- endurance ----------------------------------------------------------------------------------------------------


def endurance(programs: int = 100_000) -> dict[str, Any]:
    """Many programs in a row; what they leave behind in this process, in the servers and on the machine."""
    with Judge(LIMITS, WORKERS, minimum=Isolation.FULL) as judge:
        noted = []
        for block in range(10):
            size = programs // 10
            jobs = [(f"open('left', 'w').write('x')\n{TRIVIAL}# {block} {number}", SUM) for number in range(size)]
            verdicts = judge.judge_many(jobs)
            assert all(map(accepted, verdicts)), next(v for v in verdicts if not accepted(v))
            del verdicts, jobs
            judge._cache._known.clear()  # what it remembers on purpose is not what is measured
            noted.append(state(judge))
    before, after = noted[1], noted[-1]
    after_all = {"processes": children(os.getpid())}
    leaked = {key: after[key] - before[key] for key in ("processes", "descriptors", "mounts", "files")}
    growth = after["memory_kb"] / before["memory_kb"]
    claims = [
        claim(f"{what} more after {programs:,} programs than after {programs // 5:,}", count, "", "≤ 0", count <= 0)
        for what, count in leaked.items()
    ]
    claims.append(
        claim("memory of judge and servers, the last to the second tenth", growth, "times", "≤ 1.02", growth <= 1.02)
    )
    ended = after_all["processes"] == 0
    claims.append(claim("processes left when the judge is closed", after_all["processes"], "", "0", ended))
    return {"claims": claims, "runs": noted}


def state(judge: Judge) -> dict[str, int]:
    launchers = [server._process.pid for server in judge._fleet._folders]
    processes = [os.getpid(), *(pid for launcher in launchers for pid in [launcher, *descendants(launcher)])]
    return {
        "processes": len(processes),
        "descriptors": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes),
        "mounts": sum(len(Path(f"/proc/{pid}/mounts").read_text().splitlines()) for pid in processes),
        "files": sum(len(os.listdir(folder)) for folder in judge._fleet._folders.values()),
        "memory_kb": sum(resident(pid) for pid in processes),
    }


def descendants(pid: int) -> list[int]:
    below = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return below + [other for child in below for other in descendants(child)]


def children(pid: int) -> int:
    return sum(
        len(Path(f"/proc/{pid}/task/{task}/children").read_text().split()) for task in os.listdir(f"/proc/{pid}/task")
    )


def resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "speed": speed,
    "load": load,
    "references": references,
    "endurance": endurance,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    asked = arguments.parse_args().parts or list(PARTS)
    known = json.loads(RESULTS.read_text())["parts"] if RESULTS.is_file() else {}
    for part in asked:
        start = time.perf_counter()
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
        known[part] = {**PARTS[part](), "commit": commit.stdout.strip(), "hardware": hardware()}
        print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
        for item in known[part]["claims"]:
            said = "met   " if item["met"] else "MISSED"
            print(f"  {said} {item['claim']}: {item['value']} {item['unit']} ({item['goal']})")
        write(known)


def write(parts: dict[str, Any]) -> None:
    ordered = {part: parts[part] for part in PARTS if part in parts}
    head = {
        "name": "sandbox",
        "command": "python benchmarks/sandbox.py",
        "commit": next(iter(ordered.values()))["commit"],
        "hardware": hardware(),
        "claims": [item for part in ordered.values() for item in part["claims"]],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**head, "parts": ordered}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
