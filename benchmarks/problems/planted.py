"""Does curation find what does not belong? MBPP with planted rows goes through the real stage, HumanEval is the
evaluation set.   python -m benchmarks.problems.planted

The problem sets are read from REFORGE_SHARED (default ../shared), as the tests read them.
"""

from __future__ import annotations

import ast
import gzip
import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.record import SHARED, Claim, claim, head, show, write
from benchmarks.sandbox.mutants import mutants_of
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.frame.context import StageContext
from reforge.problems.store import read_quarantined
from reforge.stages import curate
from reforge.tracking.tracker import Tracker

HUMANEVAL = SHARED / "data" / "humaneval" / "HumanEval.jsonl.gz"
# MBPP holds these twice, in the same words or as the same function: they are found, too, and no loss.
REPEATED = {43: 16, 347: 76, 388: 199, 602: 217, 704: 248, 716: 17}
LEAST_TESTS = 3  # different tests: five of MBPP's problems have the same assertion twice, and fewer different ones
SYNONYMS = {
    "write a python function to": "i need python code that will", "write a function to": "please implement code to",
    "find": "determine", "check whether": "tell if", "check if": "tell whether", "given": "supplied", "list": "array",
    "number": "value", "numbers": "values", "remove": "delete", "count": "tally up", "calculate": "compute",
    "string": "text", "get": "obtain", "sort": "put in order", "elements": "entries", "convert": "turn",
}  # fmt: skip
Row = dict[str, Any]


def exact(row: Row, draw: random.Random) -> Row:
    return dict(row)


def renamed(row: Row, draw: random.Random) -> Row:
    """Give a different name to the function and to all that it calls its own."""
    tree = ast.parse(row["code"])
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names = {name: f"{draw.choice(['my', 'the', 'do', 'x'])}_{name[::-1]}{number}" for number, name in enumerate(own)}

    def rename(text: str) -> str:
        return re.sub(r"\b\w+\b", lambda word: names.get(word[0], word[0]), text)

    return {**row, "code": rename(row["code"]), "test_list": [rename(test) for test in row["test_list"]]}


def reordered(row: Row, draw: random.Random) -> Row:
    return {**renamed(row, draw), "test_list": draw.sample(row["test_list"], len(row["test_list"]))} | {
        "code": row["code"]
    }


def reworded(row: Row, draw: random.Random) -> Row:
    text = row["text"].lower()
    for words, others in SYNONYMS.items():
        text = re.sub(rf"\b{words}\b", others, text)
    return {**renamed(row, draw), "text": f"{text} Mind the corner cases."}


def wrong(row: Row, draw: random.Random) -> Row:
    return {**row, "code": draw.choice([m for m in mutants_of(row["code"]) if "return [" in m] or ["x = 1"])}


def flaky(row: Row, draw: random.Random) -> Row:
    return {**row, "code": f"{row['code']}\nimport time\nif time.time_ns() // 1000 % 3 == 0: raise OSError"}


def few(row: Row, draw: random.Random) -> Row:
    return {**row, "test_list": row["test_list"][: draw.randrange(3)]}


def broken(row: Row, draw: random.Random) -> Any:
    key = draw.choice(["text", "code", "task_id", "test_list"])
    return draw.choice(
        [
            {**row, key: None}, {**row, key: {"a": [1]}}, {k: v for k, v in row.items() if k != key}, [row], "row", 7,
            {**row, "code": "def f(:"}, {**row, "test_list": ["assert ("]}, {**row, "test_list": ["assert True"]},
            {**row, "code": "\0"}, {**row, "task_id": "1"}, {**row, "task_id": 1.5}, {**row, "test_list": "f(1)"},
        ]
    )  # fmt: skip


def contaminated(draw: random.Random) -> list[Row]:
    """Return HumanEval's problems in MBPP's form: with its words, or with its tests under a different name and in
    different words."""
    rows = []
    for line in gzip.decompress(HUMANEVAL.read_bytes()).decode().splitlines():
        task = json.loads(line)
        entry = task["entry_point"]
        tests = [
            ast.unparse(node).replace("candidate(", f"{entry}(")
            for node in ast.walk(ast.parse(task["test"]))
            if isinstance(node, ast.Assert) and "candidate(" in ast.unparse(node.test)
        ]
        if len(tests) >= 3 and not any("for " in test or "round" in test or "math." in test for test in tests):
            code = task["prompt"] + task["canonical_solution"]
            row = {"text": task["prompt"], "code": code, "test_list": tests, "test_setup_code": ""}
            rows.append(row if draw.random() < 0.5 else reworded({**row, "text": f"Write {entry}."}, draw))
    return draw.sample(rows, 60)


SPOILED: dict[str, tuple[Callable[[Row, random.Random], Any], int]] = {
    "wrong reference": (wrong, 30), "flaky reference": (flaky, 20), "too few tests": (few, 30),
    "broken row": (broken, 40),
}  # fmt: skip
COPIED: dict[str, tuple[Callable[[Row, random.Random], Any], int]] = {
    "exact copy": (exact, 50), "renamed copy": (renamed, 50), "re-ordered tests": (reordered, 40),
    "re-worded copy": (reworded, 60),
}  # fmt: skip


def rows_and_kinds() -> list[tuple[Any, str]]:
    draw = random.Random(0)
    rows = [json.loads(line) for line in (SHARED / "data/mbpp/mbpp.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["task_id"] not in REPEATED and len(set(row["test_list"])) >= LEAST_TESTS]
    spoiled = draw.sample(rows, sum(times for _, times in SPOILED.values()))
    clean = [row for row in rows if row not in spoiled]
    found = [(row, "clean") for row in clean]
    for kind, (change, times) in SPOILED.items():
        found += [(change(spoiled.pop(), draw), kind) for _ in range(times)]
    plain = [row for row in clean if len(row["test_list"]) == 3 and not row["test_setup_code"]]
    for kind, (change, times) in COPIED.items():
        found += [(change(row, draw), kind) for row in draw.sample(plain, times)]
    found += [(row, "copy of HumanEval") for row in contaminated(draw)]
    return [
        ({**row, "task_id": 10_000 + at} if kind in COPIED or kind == "copy of HumanEval" else row, kind)
        for at, (row, kind) in enumerate(found)
    ]


def curated(rows: list[Any], folder: Path) -> dict[int, str]:
    """Run the real stage, and return for each line that it leaves out why."""
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = [
        "curate.problems=mbpp", f"curate.problems.sources.mbpp.path={source}", "curate.problems.train=700",
        "sandbox.cpu_seconds=10",
        f"curate.problems.tests_per_problem={LEAST_TESTS}",
        f"+curate.problems.against.humaneval={{adapter: humaneval, path: {HUMANEVAL}}}",
    ]  # fmt: skip
    for name in ("out", "scratch", "runs"):
        (folder / name).mkdir()
    config = build_config(compose(chosen), "benchmark")
    places = (folder / "out", folder / "scratch", folder / "runs")
    tracker = Tracker(folder / "scratch", folder / "runs")
    curate.run(StageContext("curate@problems", config, (), {}, *places, 0, tracker))
    return {item.line: item.reason for item in read_quarantined(folder / "out/data/quarantined.parquet")}


def main() -> None:
    planted = rows_and_kinds()
    with tempfile.TemporaryDirectory() as folder:
        left_out = curated([row for row, _ in planted], Path(folder))
    kinds = Counter(kind for _, kind in planted)
    found = Counter(kind for line, (_, kind) in enumerate(planted, 1) if line in left_out)
    lost = [(line, left_out[line]) for line, (_, kind) in enumerate(planted, 1) if kind == "clean" and line in left_out]
    claims = claims_of(kinds, found)
    show(claims)
    reasons = Counter((kind, left_out.get(line, "kept").partition(":")[0]) for line, (_, kind) in enumerate(planted, 1))
    table = [{"kind": kind, "became": what, "rows": times} for (kind, what), times in sorted(reasons.items())]
    write("problems_planted", claims, [*table, {"clean and lost": lost}], head())


def claims_of(kinds: Counter[str], found: Counter[str]) -> list[Claim]:
    goals = {
        "exact copy": 100, "renamed copy": 100, "re-ordered tests": 100, "copy of HumanEval": 100, "re-worded copy": 95,
    }  # fmt: skip
    bad = [kind for kind in kinds if kind != "clean"]
    total = sum(kinds[kind] for kind in bad)
    claims = [claim("planted rows", total, "", "≥ 300", total >= 300)]
    for kind in bad:
        share, goal = 100 * found[kind] / kinds[kind], goals.get(kind)
        met = share >= goal if goal else None
        claims.append(claim(f"{kind}, found of {kinds[kind]}", share, "%", f"≥ {goal}" if goal else "", met))
    lost = 100 * found["clean"] / kinds["clean"]
    right = sum(found[kind] for kind in bad)
    return [
        *claims,
        claim(f"clean problems lost, of {kinds['clean']}", lost, "%", "≤ 1", lost <= 1),
        claim("of what is left out, planted", 100 * right / (right + found["clean"]), "%"),
    ]


if __name__ == "__main__":
    main()
