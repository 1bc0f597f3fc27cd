"""What a report says: plain records filled by the report stage, and the two files made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from reforge.reports.charts import dot_chart, line_chart
from reforge.reports.tables import difficulty_rows, interval, percent, points, share
from reforge.reports.tables import text_tables as text_tables
from reforge.reports.visible import visible

Scores = Mapping[str, Mapping[str, Any]]  # model → its scores.json


@dataclass(frozen=True)
class Gain:
    """Paired difference of two models on the same held-out problems, at one length."""

    model: str
    baseline: str
    length: str
    problems: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RungCurve:
    """The metrics.jsonl of one context rung."""

    name: str
    max_tokens: int
    steps: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class Example:
    problem_id: str
    difficulty: int
    statement: str
    completion: str
    tokens: int
    truncated: bool
    status: str
    solved: bool | None
    reason: str


@dataclass(frozen=True)
class Link:
    """A folder or file with its digest as DVC computes it. `verified`: `reforge verify` has made it again."""

    path: str
    digest: str
    verified: bool


@dataclass(frozen=True)
class Chain:
    """What a model's scores hang on: the stage that made it, from which model, and what evaluation drew from it."""

    model: str
    made_from: str
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Report:
    experiment: str
    seed: int
    confidence: float
    lengths: Mapping[str, int]
    length: str  # where models are compared by difficulty and examples are cut
    scores: Scores
    gain: Gain | None
    curves: tuple[RungCurve, ...]
    funnel: tuple[tuple[str, str], ...]
    model: str  # what it is about: whose examples are shown
    examples: tuple[tuple[str, tuple[Example, ...]], ...]  # heading, its rollouts
    problems: Link
    repeated: str  # R4 in a sentence, empty where nobody has measured it
    lineage: tuple[Chain, ...]


CURVES = (
    ("reward/mean", "Mean reward of a step", True),
    ("length/mean", "Mean response length, tokens", False),
    ("truncated", "Share of rollouts truncated", True),
)


def render_html(report: Report) -> str:
    """One file without scripts, links or outside resources. Everything is escaped: completions are untrusted."""
    templates = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=templates, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "share": share, "interval": interval, "points": points}
    environment.filters |= {"visible": visible}
    return environment.get_template("report.html.j2").render(
        r=report,
        problems=_problem_count(report.scores),
        rollouts=max((int(score["rollouts"]) for score in report.scores.values()), default=0),
        ks=sorted({k for score in report.scores.values() for k in score["ks"]} | {1}),
        difficulties=difficulty_rows(report.scores, report.length),
        overview=dot_chart(report.scores, report.lengths),
        charts=[line_chart(key, title, report.curves, is_share) for key, title, is_share in CURVES],
        infra_training=int(sum(step.get("infra", 0) for curve in report.curves for step in curve.steps)),
    )


def render_text(report: Report) -> str:
    """The main table for a terminal; also valid Markdown."""
    text = text_tables(report.scores, report.lengths, report.confidence)
    if report.gain:
        gain = report.gain
        text += (
            f"\n{gain.model} minus {gain.baseline} at {gain.length}: {points(gain.value)} points, "
            f"{report.confidence:.0%} interval {points(gain.low)} to {points(gain.high)} "
            f"(paired over {gain.problems} problems)\n"
        )
    return text


def _problem_count(scores: Scores) -> int:
    return max((len(length["per_problem"]) for s in scores.values() for length in s["lengths"].values()), default=0)
