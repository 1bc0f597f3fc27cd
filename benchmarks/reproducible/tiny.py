"""Is every step of a finished `tiny` trained from its record again, bit by bit, and does every verdict stand?

make demo && python -m benchmarks.reproducible.tiny
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.record import ROOT, claim, head, show, write

TRAINED = ("rl@short", "rl@long")
JUDGED = (
    *TRAINED, "sample@teacher", "evaluate@base", "evaluate@sft", "evaluate@rl-short", "evaluate@rl-long",
    "evaluate@student",
)  # fmt: skip


def main() -> None:
    runs = [replay(stage) for stage in TRAINED] + [replay(stage, "--regrade") for stage in JUDGED]
    claims = [
        _claim("steps whose weights differ, trained again from the record", [run for run in runs if not run["option"]]),
        _claim("verdicts that are others when judged again", [run for run in runs if run["option"]]),
    ]
    show(claims)
    write("reproducible_tiny", claims, runs, head())
    sys.exit(not all(each["met"] for each in claims))


def replay(stage: str, option: str = "") -> dict[str, Any]:
    """Replay a stage, and return how it compares. `of`: how many steps or verdicts are as recorded; `differing`: what
    is not, as text, where it ended."""
    command = [str(Path(sys.executable).with_name("reforge")), "replay", stage, *option.split()]
    told = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    lines = told.stdout.splitlines()
    differing = [line.strip() for line in lines if line.startswith("    ")]
    if told.returncode and not differing:
        sys.exit(f"{stage}: {told.stderr}")
    same = 0
    for line in lines:
        counted = re.search(r"(\d+) verdicts", line) if option else re.match("step", line)
        if counted and line.endswith("as recorded"):
            same += int(counted[1]) if option else 1
    print(f"{stage} {option}: {same} as recorded, {differing or 'none differs'}", flush=True)
    return {"stage": stage, "option": option, "of": same, "differing": differing}


def _claim(text: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    differing, of = sum(len(run["differing"]) for run in runs), sum(run["of"] for run in runs)
    return claim(f"{text}, of {of:,} of tiny", differing, "", "0", of > 0 and not differing)


if __name__ == "__main__":
    main()
