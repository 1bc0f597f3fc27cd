"""report: scores, curves, examples and lineage of all stages → report.html, table.md and model-card.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from reforge.config import Config, compared_limit, compared_models, evaluated_as, road
from reforge.errors import UserError
from reforge.evaluation.scores import problem_means
from reforge.evaluation.statistics import paired_difference
from reforge.files.jsonfile import read_json
from reforge.frame.context import StageContext
from reforge.machine.project import command
from reforge.problems.store import read_problems
from reforge.reports.inputs import digest, funnel_rows, pick_examples, read_curve
from reforge.reports.model_card import render_model_card
from reforge.reports.records import Chain, Gain, Link, Report, RungCurve, Scores
from reforge.reports.report import render_html, render_text


def _remedy() -> str:
    return f"Make it again with: {command('dvc repro')}"


def run(ctx: StageContext) -> None:
    report = build_report(ctx)
    files = {"report.html": render_html, "table.md": render_text, "model-card.md": render_model_card}
    for name, render in files.items():
        (ctx.out / name).write_text(render(report), encoding="utf-8")
        ctx.tracker.artifact(ctx.out / name)
    for model, score in report.scores.items():
        for limit in report.limits:
            ctx.metrics[f"pass@1/{model}/{limit}"] = score["limits"][limit]["pass@1"]["value"]
    for place, gain in enumerate(report.gains):
        name = f"gain/over/{gain.baseline}" if place else "gain"
        value = f"{name}/value" if place else name
        ctx.metrics.update({value: gain.value, f"{name}/low": gain.low, f"{name}/high": gain.high})


def build_report(ctx: StageContext) -> Report:
    cfg, outputs = ctx.cfg, ctx.dep("outputs")
    if not cfg.evaluate:
        raise UserError("No model is evaluated, so there is nothing to report. Add one: +evaluate.NAME=rungs")
    evaluate, limit = next(iter(cfg.evaluate.values())), compared_limit(cfg)
    scores = {model: read_json(outputs / "evaluate" / model / "scores.json", _remedy()) for model in cfg.evaluate}
    gains = tuple(_gain(cfg, scores, limit, pair) for pair in compared_models(cfg))
    shown = gains[0].model if gains else list(scores)[-1]
    curves = tuple(read_curve(outputs / "rl" / key, key, rung.max_tokens) for key, rung in cfg.rl.items())
    problems = Path(evaluate.input("problems"))
    answered = {problem.id: problem for problem in read_problems(problems / f"{evaluate.side}.parquet")}
    return Report(
        experiment=cfg.experiment,
        seed=cfg.seed,
        confidence=evaluate.confidence,
        limits=evaluate.limits,
        limit=limit,
        scores=scores,
        gains=gains,
        curves=curves,
        climb=_climb(cfg, curves),
        funnel=tuple(funnel_rows(read_json(problems.parent / "funnel.json", _remedy()))),
        model=shown,
        examples=pick_examples(outputs / "evaluate" / shown / "rollouts.parquet", limit, answered),
        problems=_link(ctx, problems),
        repeated=_verified(ctx, "experiments").get(cfg.experiment, ""),
        lineage=tuple(_chain(ctx, key, one.model) for key, one in cfg.evaluate.items()),
    )


def _gain(cfg: Config, scores: Scores, limit: str, compared: tuple[str, str]) -> Gain:
    after, before = (problem_means(scores[name]["limits"][limit]["per_problem"]) for name in compared)
    difference = paired_difference(after, before, cfg.evaluate[compared[0]].confidence)
    pairs = sum(not math.isnan(after[key] - before[key]) for key in after)
    return Gain(*compared, limit, pairs, difference.value, difference.low, difference.high)


def _climb(cfg: Config, curves: Sequence[RungCurve]) -> tuple[tuple[str, float], ...]:
    evaluated = evaluated_as(cfg)
    sampled = {f"rl/{curve.name}": sum(step["tokens/sampled"] for step in curve.steps) for curve in curves}
    models, tokens = list[tuple[str, float]](), 0.0
    for model in road(cfg):
        tokens += sampled.get(model, 0.0)
        if model in evaluated:
            models.append((evaluated[model], tokens))
    return tuple(models)


def _chain(ctx: StageContext, model: str, source: str) -> Chain:
    kind, _, key = source.partition("/")
    answers = ctx.dep("outputs") / "evaluate" / model
    made = (ctx.dep("outputs") / source, answers, answers / "rollouts.parquet", answers / "scores.json")
    own = getattr(ctx.cfg, kind)[key]
    parents = [value for name, value in own.inputs().items() if own.slots()[name].wants != "problems"]
    return Chain(model, ", ".join(parents), tuple(_link(ctx, path) for path in made))


def _link(ctx: StageContext, path: Path) -> Link:
    now = digest(path)
    return Link(path.as_posix(), now, _verified(ctx, "outputs").get(path.as_posix()) == now)


def _verified(ctx: StageContext, part: str) -> dict[str, str]:
    return dict(read_json(ctx.dep("verified.json"), "Bring it back with: git checkout verified.json").get(part, {}))
