"""EvalPlus, from PyPI, as a peer and as the reader of its own data. Installed into .scratch/evalplus the first time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.record import ROOT

VERSION = "0.3.1"
NEEDS = ["wget", "appdirs", "tempdir", "multipledispatch", "termcolor", "fire", "stop-sequencer"]
COUNT = 200
CHECK = f"""
import sys, time
from concurrent.futures import ProcessPoolExecutor
from evalplus.eval import PASS, untrusted_check

def one(n):
    program = "def f(a, b, c):\\n    return a + b + c"
    status, _ = untrusted_check("humaneval", program, [[1, 2, 3]], "f", [6], 0, [0.1], fast_check=True)
    assert status == PASS, status

if __name__ == "__main__":
    with ProcessPoolExecutor(int(sys.argv[1])) as pool:
        list(pool.map(one, range(4)))
        start = time.perf_counter()
        list(pool.map(one, range({COUNT})))
        print({COUNT} / (time.perf_counter() - start))
"""


def installed() -> Path:
    """A folder with EvalPlus in it."""
    folder = ROOT / ".scratch" / "evalplus"
    if not (folder / "evalplus").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, f"evalplus=={VERSION}", *NEEDS], check=True)
    return folder


def checks_a_second(workers: int) -> float:
    """Of its own `untrusted_check`, from an interpreter of its own with as many processes as its command line takes."""
    folder = installed()
    script = folder / "checks.py"
    script.write_text(CHECK)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, str(script), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)
