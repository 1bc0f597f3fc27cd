"""Write what a benchmark found to benchmarks/results/NAME.json."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHARED = Path(os.environ.get("REFORGE_SHARED", ROOT.parent / "shared"))

Claim = dict[str, Any]


def claim(text: str, value: float, unit: str, goal: str = "", met: bool | None = None) -> Claim:
    return {"claim": text, "value": float(f"{value:.4g}"), "unit": unit, "goal": goal, "met": met}


def mean_ratio(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of the rounds' ratios, and both ends of its 95% interval (Student's, of logarithms)."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.mean(logs)
    half = float(student.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def write(name: str, claims: Sequence[Claim], runs: Sequence[Any], commit: str, *arguments: str) -> None:
    """Write one run a line, so that a diff shows which runs were added. `arguments`: those of the command."""
    head = {
        "name": name,
        "command": " ".join(["python -m", _module(), *arguments]),
        "commit": commit,
        "hardware": hardware(),
        "claims": list(claims),
    }
    lines = ",\n".join(json.dumps(run, separators=(",", ":"), ensure_ascii=False) for run in runs)
    text = json.dumps(head, indent=1, ensure_ascii=False)[:-2] + f',\n "runs": [\n{lines}\n]\n}}\n'
    RESULTS.mkdir(exist_ok=True)
    partial = RESULTS / f"{name}.partial"
    partial.write_text(text)
    partial.replace(RESULTS / f"{name}.json")


def _module() -> str:
    """Return the module that was started with `python -m`."""
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).name


def peer(folder: str, packages: Sequence[str]) -> Path:
    """Return the folder in which these packages, and none that they ask for, are installed from PyPI, apart from our
    own environment."""
    target = ROOT / ".scratch" / folder
    if not target.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        subprocess.run([*pip, *packages], check=True)
    return target


def show(claims: Sequence[Claim]) -> None:
    for item in claims:
        met = {True: "met   ", False: "MISSED", None: "      "}[item["met"]]
        print(f"{met} {item['claim']}: {item['value']:g} {item['unit']} {item['goal'] and '(' + item['goal'] + ')'}")


def head(repository: Path = ROOT) -> str:
    """Return the commit that is checked out in `repository`."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


def hardware() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB"
