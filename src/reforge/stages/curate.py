"""Raw problem sets → verified problems, split by family. What is left out is kept too, with the reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import NoReturn

from tqdm import tqdm

from reforge.config import Problems
from reforge.errors import UserError
from reforge.problems.adapters import UnusableRow, adapt
from reforge.problems.balanced import balanced
from reforge.problems.duplicates import drop_contaminated, drop_duplicates
from reforge.problems.funnel import Entry, Quarantined, count, reasons
from reforge.problems.generated import generate
from reforge.problems.source import Row, snapshot, write_jsonl
from reforge.problems.split import split
from reforge.problems.store import write_problems, write_quarantined
from reforge.problems.verify import verify
from reforge.stages.contract import StageContext
from reforge.stages.grading import judge_of
from reforge.types import Problem


def run(ctx: StageContext) -> None:
    cfg = ctx.cfg.problems
    rows = _generated(ctx) if cfg.adapter == "generated" else snapshot(cfg, ctx.out / "raw")
    entries, unusable = _problems(rows, cfg)
    funnel = {"read": count(len(rows), kept=len(entries), quarantined=len(unusable))}
    enough, few = _with_enough_tests(entries, cfg.tests_per_problem)
    funnel["tests"] = count(len(entries), kept=len(enough), quarantined=len(few))
    _some(enough, unusable + few, cfg)
    with tqdm(total=len(enough), desc="verify", unit="problem") as bar, judge_of(ctx) as judge:
        verified, failed = verify(enough, judge, ctx.cfg.sandbox.cpu_seconds, _advancing(bar))
    funnel["verify"] = count(len(enough), kept=len(verified), quarantined=len(failed))
    quarantined = [*unusable, *few, *failed]
    _some(verified, quarantined, cfg)
    if cfg.near:
        different, same = drop_duplicates(verified, cfg.near)
        funnel["duplicates"] = count(len(verified), kept=len(different), quarantined=len(same))
        own, foreign = drop_contaminated(different, _evaluation_sets(ctx), cfg.near)
        funnel["contamination"] = count(len(different), kept=len(own), quarantined=len(foreign))
        quarantined += [*same, *foreign]
        _some(own, quarantined, cfg)
        verified = own
    sides = split([entry.problem for entry in verified], cfg.train, cfg.heldout)
    funnel["split"] = count(
        len(verified), train=len(sides.train), heldout=len(sides.heldout), surplus=len(sides.surplus)
    )
    write_problems(ctx.out / "problems" / "train.parquet", sides.train)
    write_problems(ctx.out / "problems" / "heldout.parquet", sides.heldout)
    write_quarantined(ctx.out / "problems" / "quarantined.parquet", quarantined)
    summary = {
        "source": cfg.adapter,
        **funnel,
        "reasons": reasons(quarantined),
        "difficulties": {"train": _difficulties(sides.train), "heldout": _difficulties(sides.heldout)},
    }
    (ctx.out / "funnel.json").write_text(json.dumps(summary, indent=2) + "\n")
    ctx.metrics["read"] = funnel["read"]["in"]
    ctx.metrics["quarantined"] = len(quarantined)
    ctx.metrics.update({side: funnel["split"][side] for side in ("train", "heldout", "surplus")})


def _generated(ctx: StageContext) -> list[Row]:
    cfg = ctx.cfg.problems
    streams = {d: generate([d], cfg.tests_per_problem, ctx.seed + d) for d in cfg.difficulties}
    with tqdm(desc="generate", unit="problem") as bar:
        problems = balanced(streams, cfg.train, cfg.heldout, _advancing(bar))
    write_jsonl(ctx.out / "raw" / "rows.jsonl", map(asdict, problems))
    return [Row(line, problem) for line, problem in enumerate(problems, 1)]


def _evaluation_sets(ctx: StageContext) -> Iterator[Problem]:
    for number, source in enumerate(ctx.cfg.problems.against):
        for row in snapshot(source, ctx.out / "raw" / f"against-{number}"):
            try:
                yield adapt(source.adapter, row.value)
            except UnusableRow as reason:
                raise UserError(
                    f"problems.against: {source.path}, line {row.line}: {reason}. An evaluation set must be read "
                    "whole, or what it contaminates goes unseen: mend the row, or correct the adapter."
                ) from reason


def _problems(rows: Sequence[Row], cfg: Problems) -> tuple[list[Entry], list[Quarantined]]:
    entries: dict[str, Entry] = {}
    unusable = []
    for row in tqdm(rows, desc="read", unit="row"):
        try:
            problem = row.value if isinstance(row.value, Problem) else adapt(cfg.adapter, row.value)
            if problem.id in entries:
                raise UnusableRow(f"duplicate id: also in line {entries[problem.id].line}")
            entries[problem.id] = Entry(row.line, problem)
        except UnusableRow as reason:
            name = str(row.value.get("task_id", "")) if isinstance(row.value, dict) else ""
            unusable.append(Quarantined(name, str(reason), row.line))
    return list(entries.values()), unusable


def _with_enough_tests(entries: Sequence[Entry], wanted: int) -> tuple[list[Entry], list[Quarantined]]:
    kept = [entry for entry in entries if len(entry.problem.tests) >= wanted]
    few = [
        Quarantined(entry.problem.id, f"too few tests: {len(entry.problem.tests)} of {wanted}", entry.line)
        for entry in entries
        if len(entry.problem.tests) < wanted
    ]
    return kept, few


def _some(entries: Sequence[Entry], quarantined: Sequence[Quarantined], cfg: Problems) -> None:
    if not entries:
        why = "; ".join(f"{kind} ({times})" for kind, times in reasons(quarantined).items()) or "it has no rows"
        first = f" First: line {quarantined[0].line}, {quarantined[0].reason}." if quarantined else ""
        raise UserError(
            f"No problem of {cfg.path or cfg.adapter} is usable with the adapter {cfg.adapter!r}: {why}.{first} Check "
            "problems.path, problems.adapter and problems.tests_per_problem."
        )


def _advancing(bar: tqdm[NoReturn]) -> Callable[[], None]:
    def advance() -> None:
        bar.update()

    return advance


def _difficulties(problems: Sequence[Problem]) -> dict[str, int]:
    return {str(key): times for key, times in sorted(Counter(problem.difficulty for problem in problems).items())}
