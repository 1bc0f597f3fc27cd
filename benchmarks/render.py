"""benchmarks/results/*.json → the tables between the `results` marks of README.md, and the plots of docs/.
`python -m benchmarks.render`"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.plots import sweep

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PLOTS = {"pipelining": (ROOT / "docs" / "pipelining.svg", sweep)}  # result → where, how
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MET = {True: "yes", False: "**no**", None: ""}


def render(folder: Path) -> str:
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return "\n".join(map(_section, results)) or "No results are committed yet.\n"


def insert(readme: str, block: str) -> str:
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"README.md has lost its marks {BEGIN} and {END}. Put them where the results belong.")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def _section(result: Mapping[str, Any]) -> str:
    rows = "".join(
        f"| {claim['claim']} | {claim['value']:g} {claim['unit']} | {claim['goal']} | {MET[claim['met']]} |\n"
        for claim in result["claims"]
    )
    return (
        f"**{result['name']}** · `{result['command']}` · commit `{result['commit'][:10]}` · {result['hardware']} · "
        f"{len(result['runs'])} runs, raw in `benchmarks/results/{result['name']}.json`\n\n"
        f"| claim | value | goal | met |\n|---|--:|--:|---|\n{rows}"
    )


if __name__ == "__main__":
    for name, (path, draw) in PLOTS.items():
        path.write_text(draw(json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())))
    README.write_text(insert(README.read_text(), render(ROOT / "benchmarks" / "results")))
