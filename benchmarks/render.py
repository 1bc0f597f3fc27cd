"""benchmarks/results/*.json → docs/results.md, the headlines between the `results` marks of README.md, and the plots of
docs/. `python -m benchmarks.render`"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plots import learning, sweep

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
ALL = ROOT / "docs" / "results.md"
PLOTS = {  # result → the file of its plot, and what draws it
    "pipelining": (ROOT / "docs" / "pipelining.svg", sweep),
    "road": (ROOT / "docs" / "road.svg", learning),
}
HEADLINES = (
    "road", "learner_exact", "learner_speed", "learner_memory", "pipelining", "pipelining_trl", "problems_duplicates",
    "reproducible_tiny", "sandbox_fuzz", "sandbox_speed",
)  # fmt: skip
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MET = {True: "yes", False: "**no**", None: ""}
TITLE = "# Results\n\nMade from `benchmarks/results/` by `python -m benchmarks.render`; a test compares them.\n\n"
Result = Mapping[str, Any]


def read(folder: Path) -> list[Result]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def full(results: Sequence[Result], archived: Sequence[Result] = ()) -> str:
    """Return the page with every claim of every result, and what those of the archive were and why they are there."""
    return TITLE + "\n".join(map(_section, results)) + "".join(map(_archived, archived))


def headlines(results: Sequence[Result], first: Sequence[str] = HEADLINES) -> str:
    """Return a table with the first claim of the results named `first` and every claim of theirs whose goal was missed,
    and a row for each other result that missed a goal."""
    rows = [f"| [{result['name']}](docs/results.md#{result['name']}) {_row(claim)}"
            for result in results for claim in _shown(result, result["name"] in first)]  # fmt: skip
    return "| result | claim | value | goal | met |\n|---|---|--:|--:|---|\n" + "".join(rows)


def _shown(result: Result, headline: bool) -> list[dict[str, Any]]:
    missed = [claim for claim in result["claims"] if claim["met"] is False]
    if headline:
        first = result["claims"][0]
        return [first, *(claim for claim in missed if claim is not first)]
    more = f" (one of {len(missed)} missed claims)" if len(missed) > 1 else ""
    return [{**claim, "claim": claim["claim"] + more} for claim in missed[:1]]


def insert(readme: str, block: str) -> str:
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"README.md has lost its marks {BEGIN} and {END}. Put them where the results belong.")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def _section(result: Result) -> str:
    return (
        f"## {result['name']}\n\n"
        f"`{result['command']}` · commit `{result['commit'][:10]}` · {result['hardware']} · {len(result['runs'])} runs"
        f", raw in `benchmarks/results/{result['name']}.json`\n\n"
        f"| claim | value | goal | met |\n|---|--:|--:|---|\n{''.join(map(_row, result['claims']))}"
    )


def _archived(result: Result) -> str:
    path = f"benchmarks/results/archive/{result['name']}.json"
    return f"\n## Archive: {result['name']}\n\n{result['why']} Claims and raw runs: `{path}`.\n"


def _row(claim: Mapping[str, Any]) -> str:
    text = claim["claim"].replace("|", "\\|")  # else it would end the cell
    return f"| {text} | {claim['value']:g} {claim['unit']} | {claim['goal']} | {MET[claim['met']]} |\n"


def main() -> None:
    results, archived = (read(RESULTS / folder) for folder in (".", "archive"))
    for result in results:
        if result["name"] in PLOTS:
            path, draw = PLOTS[result["name"]]
            path.write_text(draw(result))
    ALL.write_text(full(results, archived))
    README.write_text(insert(README.read_text(), headlines(results)))


if __name__ == "__main__":
    main()
