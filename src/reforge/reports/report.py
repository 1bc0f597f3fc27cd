"""A report, as an HTML page and as a table for a terminal."""

from __future__ import annotations

from pathlib import Path

import jinja2

from reforge.reports.charts import climb_chart, dot_chart, line_chart
from reforge.reports.records import Report, Scores
from reforge.reports.tables import difficulty_rows, interval, percent, points, share, text_tables
from reforge.reports.visible import visible

CURVES = (
    ("reward/mean", "Mean reward of a step", True),
    ("length/mean", "Mean response length, tokens", False),
    ("truncated", "Share of rollouts truncated", True),
)


def render_html(report: Report) -> str:
    """Return one file without scripts, links or outside resources. Everything is escaped: completions are untrusted."""
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
        difficulties=difficulty_rows(report.scores, report.limit),
        overview=dot_chart(report.scores, report.limits),
        climb=climb_chart(
            report.climb,
            [gain.baseline for gain in report.gains[1:]],
            {model: score["limits"][report.limit]["pass@1"] for model, score in report.scores.items()},
            report.limit,
        ),
        charts=[line_chart(key, title, report.curves, is_share) for key, title, is_share in CURVES],
        infra_training=int(sum(step.get("infra", 0) for curve in report.curves for step in curve.steps)),
    )


def render_text(report: Report) -> str:
    """Return the main table for a terminal; it is valid Markdown, too."""
    text = text_tables(report.scores, report.limits, report.confidence)
    gains = "".join(
        f"{gain.model} minus {gain.baseline} at {gain.limit}: {points(gain.value)} points, "
        f"{report.confidence:.0%} interval {points(gain.low)} to {points(gain.high)} "
        f"(paired over {gain.problems} problems)\n"
        for gain in report.gains
    )
    return f"{text}\n{gains}" if gains else text


def _problem_count(scores: Scores) -> int:
    return max((len(row["per_problem"]) for s in scores.values() for row in s["limits"].values()), default=0)
