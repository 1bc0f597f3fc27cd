"""The model card of what a report is about, in the form that hubs read: put it beside the weights as README.md.

Nothing in it is hand-typed: scores, training and digests are those of the report. Equal reports give equal bytes.
"""

from __future__ import annotations

from statistics import fmean

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from reforge.reports.records import Report, RungCurve
from reforge.reports.report import render_text
from reforge.reports.tables import share

_SOME = 5  # steps in each mean that is shown: over a rung's first steps, and over its last


def render_model_card(report: Report) -> str:
    environment = Environment(
        loader=PackageLoader("reforge", "reports"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    chains = {chain.model: chain for chain in report.lineage}
    return environment.get_template("model_card.md.j2").render(
        r=report,
        head=_head(report).to_yaml(),
        chain=chains[report.model],
        rungs=[(curve, _ends(curve, "reward/mean"), _ends(curve, "truncated")) for curve in report.curves],
        scores=render_text(report),
    )


def _head(report: Report) -> ModelCardData:
    found = [
        EvalResult(
            task_type="text-generation",
            dataset_type="held-out-problems",
            dataset_name=f"held-out problems, at most {tokens} tokens",
            dataset_revision=report.problems.digest,
            metric_type="pass@1",
            metric_name=f"pass@1 within {tokens} tokens",
            metric_value=round(report.scores[report.model]["limits"][name]["pass@1"]["value"], 4),
        )
        for name, tokens in report.limits.items()
    ]
    return ModelCardData(
        model_name=f"{report.experiment}-{report.model}",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["code", "reinforcement-learning"],
        eval_results=found,
    )


def _ends(curve: RungCurve, key: str) -> str:
    """Return the mean over the rung's first steps and over its last, as text."""
    values = [step[key] for step in curve.steps]
    return f"{share(fmean(values[:_SOME]))} → {share(fmean(values[-_SOME:]))}"
