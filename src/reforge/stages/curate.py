"""Raw problem sets → verified problems, split and ordered. What is left out is kept too, with the reason."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from reforge.config.problems import PassRates, ProblemSource
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.frame.judge import curation_judge
from reforge.machine import progress
from reforge.problems import filters
from reforge.problems.adapters import UnusableRow, adapt
from reforge.problems.balanced import balanced
from reforge.problems.duplicates import drop_contaminated, drop_duplicates
from reforge.problems.funnel import Entry, Funnel, Quarantined, count, reasons
from reforge.problems.generated import generate
from reforge.problems.pass_rates import graded, pass_rates, unteachable
from reforge.problems.source import Row, snapshot, write_jsonl
from reforge.problems.split import Split, in_order, split
from reforge.problems.store import write_origins, write_problems, write_quarantined
from reforge.problems.verify import verify
from reforge.problems.worked import hide_solutions
from reforge.records import Problem
from reforge.reports.card import Card, write_card


def run(ctx: StageContext) -> None:
    cfg, funnel = ctx.cfg.curate[ctx.key], Funnel()
    _read(ctx, funnel)
    _filter(funnel, "dates", lambda entry: filters.outside(entry.problem, cfg.sources[entry.source]))
    _filter(funnel, "statement", lambda entry: filters.unsuitable(entry.problem, cfg))
    _filter(funnel, "tests", lambda entry: filters.badly_tested(entry.problem, cfg.tests_per_problem))
    _require_some(ctx, funnel)
    _verify(ctx, funnel)
    _require_some(ctx, funnel)
    if cfg.near:
        entries = funnel.kept
        compared = progress.bar(entries, desc="compare", unit="problem")
        funnel.step("duplicates", len(entries), *drop_duplicates(compared, cfg.near))
        entries = funnel.kept
        funnel.step("contamination", len(entries), *drop_contaminated(entries, _evaluation_sets(ctx), cfg.near))
    if cfg.pass_rates:
        _teachable(funnel, cfg.pass_rates)
    _require_some(ctx, funnel)
    sides = split([entry.problem for entry in funnel.kept], cfg.train, cfg.heldout, cfg.heldout_by)
    train = hide_solutions(sides.train, cfg.worked) if cfg.worked else sides.train
    _write(ctx, funnel, replace(sides, train=in_order(train, cfg.order)))


def _read(ctx: StageContext, funnel: Funnel) -> None:
    entries: dict[str, Entry] = {}
    unusable, came = list[Quarantined](), 0
    for name, source in ctx.cfg.curate[ctx.key].sources.items():
        folder = ctx.out / "raw" / "sources" / name
        rows = _generated(ctx, folder) if source.adapter == "generated" else snapshot(source, folder)
        for row in progress.bar(rows, desc=f"read {name}", unit="row"):
            came += 1
            try:
                problem = _problem(source, row)
                if twin := entries.get(problem.id):
                    raise UnusableRow(f"duplicate id: also in {twin.source}, line {twin.line}")
                entries[problem.id] = Entry(name, row.line, problem)
            except UnusableRow as reason:
                unusable.append(Quarantined(_id_of(row.value), str(reason), name, row.line))
    funnel.step("read", came, list(entries.values()), unusable)
    gc.freeze()  # millions of records that stay: the collector need not walk over them again and again


def _problem(source: ProblemSource, row: Row) -> Problem:
    if row.broken:
        raise UnusableRow(row.broken)
    return row.value if isinstance(row.value, Problem) else adapt(source.adapter, row.value)


def _id_of(row: Any) -> str:
    """Return what an unusable row calls itself; empty if it has no name."""
    keys = ("id", "task_id", "problem_id", "question_id", "name", "url")
    found = next((row[key] for key in keys if row.get(key) is not None), "") if isinstance(row, dict) else ""
    return str(found).encode(errors="replace").decode()[:100]


def _generated(ctx: StageContext, folder: Path) -> Iterator[Row]:
    cfg = ctx.cfg.curate[ctx.key]
    assert cfg.train is not None  # or Curate would have refused it
    computed = set[str]()
    streams = {d: generate([d], cfg.tests_per_problem, ctx.seed + d, computed) for d in cfg.difficulties}
    with progress.bar(desc="generate", unit="problem") as bar:
        problems = balanced(streams, cfg.train, cfg.heldout, _advancing(bar))
    write_jsonl(folder / "rows.jsonl", map(asdict, problems))
    yield from (Row(line, problem) for line, problem in enumerate(problems, 1))


def _filter(funnel: Funnel, step: str, reason: Callable[[Entry], str]) -> None:
    funnel.step(step, len(funnel.kept), *filters.passing(funnel.kept, reason))


def _verify(ctx: StageContext, funnel: Funnel) -> None:
    """Verify the problems that have a reference. Those without one go on only where their source is `unverified`."""
    cfg, sandbox = ctx.cfg.curate[ctx.key], ctx.cfg.sandbox
    entries = funnel.kept
    given = [entry for entry in entries if entry.problem.solution.strip()]
    allowed, refused = filters.passing(
        [entry for entry in entries if not entry.problem.solution.strip()],
        lambda entry: "" if cfg.sources[entry.source].unverified else "no reference: there is no published program",
    )
    with progress.bar(total=len(given), desc="verify", unit="problem") as bar, curation_judge(ctx) as judge:
        kept, failed = verify(given, judge, cfg.verify, sandbox.cpu_seconds, sandbox.workers, _advancing(bar))
    places = {(entry.source, entry.line): at for at, entry in enumerate(entries)}
    kept = sorted([*kept, *allowed], key=lambda entry: places[entry.source, entry.line])
    funnel.step("verify", len(entries), kept, [*refused, *failed])


def _evaluation_sets(ctx: StageContext) -> Iterator[Problem]:
    for name, source in ctx.cfg.curate[ctx.key].against.items():
        read = 0
        for row in snapshot(source, ctx.out / "raw" / "against" / name):
            try:
                problem = _problem(source, row)
            except UnusableRow as reason:
                raise UserError(
                    f"{ctx.where}.against.{name}: {source.path}, line {row.line}: {reason}. An evaluation set must be "
                    "read whole, or what it contaminates goes unseen: mend the row, or correct the adapter."
                ) from reason
            if not problem.date or not filters.outside(problem, source):  # of unknown date: better sought than missed
                read += 1
                yield problem
        if not read:
            raise UserError(
                f"{ctx.where}.against.{name}: {source.path} has no problem (of these days), so nothing is sought."
            )


def _teachable(funnel: Funnel, config: PassRates) -> None:
    measured = pass_rates(config)
    _filter(funnel, "pass_rates", lambda entry: unteachable(entry.problem, measured, config))
    funnel.kept = [replace(entry, problem=graded(entry.problem, measured)) for entry in funnel.kept]


def _write(ctx: StageContext, funnel: Funnel, sides: Split) -> None:
    parts = {"train": sides.train, "heldout": sides.heldout}
    steps = funnel.steps | {
        "split": count(len(funnel.kept), surplus=len(sides.surplus), **{side: len(parts[side]) for side in parts})
    }
    summary = {
        **steps,
        "reasons": reasons(funnel.quarantined),
        "difficulties": {side: _difficulties(problems) for side, problems in parts.items()},
    }
    folder = ctx.out / "data"
    for side, problems in parts.items():
        write_problems(folder / f"{side}.parquet", problems)
    write_origins(folder / "origins.parquet", funnel.kept)
    write_quarantined(folder / "quarantined.parquet", funnel.quarantined)
    (ctx.out / "funnel.json").write_text(json.dumps(summary, indent=2) + "\n")
    write_card(ctx.out, Card(ctx.cfg.curate[ctx.key], steps, tuple(funnel.quarantined), parts))
    for name in ("README.md", "plots", "funnel.json"):
        ctx.tracker.artifact(ctx.out / name)
    ctx.metrics.update({f"{step}/{where}": n for step, places in steps.items() for where, n in places.items()})


def _require_some(ctx: StageContext, funnel: Funnel) -> None:
    cfg = ctx.cfg.curate[ctx.key]
    if not funnel.kept:
        out = funnel.quarantined
        why = "; ".join(f"{kind} ({times})" for kind, times in reasons(out).items()) or "there are no rows"
        commonest = next(iter(reasons(out)), "")
        examples = (
            f"{item.source}, line {item.line}, {item.reason}" for item in out if item.reason.startswith(commonest)
        )
        first = f" First: {next(examples)}." if out else ""
        named = ", ".join(f"{name} ({source.adapter}: {source.path})" for name, source in cfg.sources.items())
        raise UserError(
            f"No problem of {named} is usable: {why}.{first} "
            f"Check {ctx.where}.sources and what {ctx.where}.tests_per_problem, .languages, .difficulties and "
            ".statement_characters demand of them."
        )


def _advancing(bar: tqdm[NoReturn]) -> Callable[[], None]:
    def advance() -> None:
        bar.update()

    return advance


def _difficulties(problems: Sequence[Problem]) -> dict[str, int]:
    return {str(key): times for key, times in sorted(Counter(problem.difficulty for problem in problems).items())}
