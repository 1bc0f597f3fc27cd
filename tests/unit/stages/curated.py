"""A stage of curation with a stand-in for the sandbox, for its tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.frame.context import StageContext
from reforge.records import Problem, Status, Verdict
from reforge.tracking.tracker import Tracker

SQUARES = [
    {
        "text": f"Square {i} things.",
        "code": f"def square{i}(x):\n    return x * x",
        "task_id": i,
        "test_setup_code": "",
        "test_list": [f"assert square{i}(2) == 4", f"assert square{i}(3) == 9"],
        "challenge_test_list": [],
    }
    for i in range(1, 9)
]


class Accepting:
    """Stands in for the sandbox: accepts every program but those that say otherwise."""

    def judge(self, program: str, problem: Problem) -> Verdict:
        said = {"# wrong": Verdict(Status.WRONG_ANSWER, "says so", 0), "# broken": Verdict(Status.INFRASTRUCTURE, "no")}
        return said.get(program.splitlines()[-1], Verdict(Status.ACCEPTED))


def context(out: Path, overrides: list[str], seed: int = 5) -> StageContext:
    out.mkdir(parents=True)
    cfg = build_config(compose(overrides), "test")
    scratch = out.with_name(f"{out.name}-scratch")
    scratch.mkdir()
    return StageContext("curate@problems", cfg, (), {}, out, scratch, scratch, seed, Tracker(scratch, scratch))


def mbpp(tmp_path: Path, rows: list[Any], *overrides: str) -> StageContext:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes = ["curate.problems.train=3", "curate.problems.heldout=2"]
    sizes += ["curate.problems.near=null"]  # squares are all alike
    sizes += ["curate.problems.statement_characters=[1, 9999]", *overrides]
    return context(tmp_path / "out", ["curate.problems=mbpp", f"curate.problems.sources.mbpp.path={path}", *sizes])


def funnel(ctx: StageContext) -> dict[str, Any]:
    return json.loads((ctx.out / "funnel.json").read_text())


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def own(number: int, **more: Any) -> dict[str, Any]:
    """A row in our own format; no two of them alike."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    tests = [{"kind": "stdin", "input": f"{number} {n}", "expected": str(number * n)} for n in range(1, 6)]
    said = f"Multiply {words[number % 10]} number by {words[number // 10]} other numbers, then print what you get."
    return {"id": f"own/{number}", "statement": said, "solution": "a, b = map(int, input().split())\nprint(a * b)",
            "tests": tests, **more}  # fmt: skip


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
