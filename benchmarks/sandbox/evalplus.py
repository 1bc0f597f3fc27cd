"""EvalPlus, from PyPI, as a peer and as the reader of its own data. It is installed into .scratch/evalplus the first
time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.record import peer

VERSION = "0.3.1"
NEEDS = [
    "wget", "appdirs", "tempdir", "multipledispatch", "termcolor", "fire", "stop-sequencer",
    "tree-sitter==0.25.2", "tree-sitter-python==0.25.0",
]  # fmt: skip
COUNT = 200
# The check as its command line runs it, and the inner function alone, in processes that have loaded nothing else.
CHECKS = {
    "check_correctness": """
from evalplus.evaluate import check_correctness

problem = {"task_id": "sum", "base_input": [[1, 2, 3]], "plus_input": [], "entry_point": "f", "atol": 0}
expected = {"base": [6], "base_time": [0.1]}

def one(n):
    program = "def f(a, b, c):\\n    return a + b + c"
    result = check_correctness("humaneval", n, problem, program, expected, base_only=True, fast_check=True)
    assert result["base"][0] == "pass", result
""",
    "untrusted_check": """
from evalplus.eval import untrusted_check

def one(n):
    program = "def f(a, b, c):\\n    return a + b + c"
    result = untrusted_check("humaneval", program, [[1, 2, 3]], "f", [6], 0, [0.1], fast_check=True)
    assert result[0] == "pass", result
""",
}
MAIN = f"""
import sys, time
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    with ProcessPoolExecutor(int(sys.argv[1])) as pool:
        list(pool.map(one, range(4)))
        start = time.perf_counter()
        list(pool.map(one, range({COUNT})))
        print({COUNT} / (time.perf_counter() - start))
"""


def installed() -> Path:
    """Return a folder with EvalPlus in it."""
    return peer("evalplus", [f"evalplus=={VERSION}", *NEEDS])


def checks_a_second(check: str, workers: int) -> float:
    """Return the checks a second of an interpreter of their own, with as many processes as `workers`."""
    folder = installed()
    script = folder / f"{check}.py"
    script.write_text(CHECKS[check] + MAIN)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, str(script), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])
