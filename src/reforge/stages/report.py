"""report: scores, curves, examples and lineage of all stages → report.html, table.md and model-card.md."""

from __future__ import annotations

import math
from pathlib import Path

from reforge.config import Config
from reforge.evaluation.scores import problem_means
from reforge.evaluation.statistics import paired_difference
from reforge.files.jsonfile import read_json
from reforge.frame.context import StageContext
from reforge.machine.project import command
from reforge.problems.store import read_problems
from reforge.reports.inputs import digest, funnel_rows, pick_examples, read_curve
from reforge.reports.model_card import render_model_card
from reforge.reports.report import Chain, Gain, Link, Report, Scores, render_html, render_text


def _remedy() -> str:
    return f"Make it again with: {command('dvc repro')}"


def run(ctx: StageContext) -> None:
    report = build_report(ctx)
    files = {"report.html": render_html, "table.md": render_text, "model-card.md": render_model_card}
    for name, render in files.items():
        (ctx.out / name).write_text(render(report), encoding="utf-8")
        ctx.tracker.artifact(ctx.out / name)
    for model, score in report.scores.items():
        for length in report.lengths:
            ctx.metrics[f"pass@1/{model}/{length}"] = score["lengths"][length]["pass@1"]["value"]
    if report.gain:
        ctx.metrics.update({"gain": report.gain.value, "gain/low": report.gain.low, "gain/high": report.gain.high})


def build_report(ctx: StageContext) -> Report:
    cfg, curate, evaluate = ctx.cfg, ctx.dep("curate"), ctx.dep("evaluate")
    last_rung = list(cfg.rl.rungs)[-1]
    length = last_rung if last_rung in cfg.evaluate.lengths else list(cfg.evaluate.lengths)[-1]
    scores = {model: read_json(evaluate / model / "scores.json", _remedy()) for model in cfg.evaluate.models}
    gain = _gain(cfg, scores, length)
    shown = gain.model if gain else list(scores)[-1]
    side = curate / "problems" / f"{cfg.evaluate.side}.parquet"
    answered = {problem.id: problem for problem in read_problems(side)}
    rungs = cfg.rl.rungs.items()
    return Report(
        experiment=cfg.experiment,
        seed=cfg.seed,
        confidence=cfg.evaluate.confidence,
        lengths=cfg.evaluate.lengths,
        length=length,
        scores=scores,
        gain=gain,
        curves=tuple(read_curve(ctx.dep("rl") / name, name, rung.max_tokens) for name, rung in rungs),
        funnel=tuple(funnel_rows(read_json(curate / "funnel.json", _remedy()))),
        model=shown,
        examples=pick_examples(evaluate / shown / "rollouts.parquet", length, answered),
        problems=_link(ctx, curate / "problems"),
        repeated=_verified(ctx, "experiments").get(cfg.experiment, ""),
        lineage=tuple(_chain(ctx, model, source) for model, source in cfg.evaluate.models.items()),
    )


def _gain(cfg: Config, scores: Scores, length: str) -> Gain | None:
    """The last rung against the model that the first rung started from, where both are evaluated."""
    evaluated = {source: model for model, source in cfg.evaluate.models.items()}
    rungs = list(cfg.rl.rungs)
    model, baseline = evaluated.get(f"rl/{rungs[-1]}"), evaluated.get(cfg.rl.rungs[rungs[0]].init)
    if model is None or baseline is None:
        return None
    after, before = (problem_means(scores[name]["lengths"][length]["per_problem"]) for name in (model, baseline))
    difference = paired_difference(after, before, cfg.evaluate.confidence)
    pairs = sum(not math.isnan(after[key] - before[key]) for key in after)
    return Gain(model, baseline, length, pairs, difference.value, difference.low, difference.high)


def _chain(ctx: StageContext, model: str, source: str) -> Chain:
    parents = {"base": "", "sft": "base", "distill": ctx.cfg.distill.teacher}
    parents |= {f"rl/{name}": rung.init for name, rung in ctx.cfg.rl.rungs.items()}
    stage, *key = source.split("/")
    answers = ctx.dep("evaluate") / model
    made = (ctx.dep(stage).joinpath(*key), answers, answers / "rollouts.parquet", answers / "scores.json")
    return Chain(model, parents.get(source, ""), tuple(_link(ctx, path) for path in made))


def _link(ctx: StageContext, path: Path) -> Link:
    now = digest(path)
    return Link(path.as_posix(), now, _verified(ctx, "outputs").get(path.as_posix()) == now)


def _verified(ctx: StageContext, part: str) -> dict[str, str]:
    return dict(read_json(ctx.dep("verified.json"), "Bring it back with: git checkout verified.json").get(part, {}))
