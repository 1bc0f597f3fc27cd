"""Train on answers: on worked ones (a cold start, stopped while RL still has room), on a teacher's, or on both."""

from __future__ import annotations

from reforge.config.section import NONE
from reforge.environments.template import Template, worked_answer
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.frame.steps import finetune
from reforge.policy.batches import Row
from reforge.policy.learner import open_learner
from reforge.problems.store import read_problems
from reforge.rollouts.store import read_rows


def run(ctx: StageContext) -> None:
    config = ctx.cfg.sft[ctx.key]
    learner = open_learner(ctx.input("init"), ctx.cfg.learner, ctx.seed)
    rows = [] if config.problems == NONE else _worked(ctx, Template(learner.tokenizer))
    rows += [] if config.rollouts == NONE else _sampled(ctx)
    if not rows:
        raise UserError(
            f"{ctx.where}: there is no answer to learn from. No problem of {config.problems} has a worked one, and "
            f"no rollout of {config.rollouts} solved its problem within its limit: sample more, or from a better model."
        )
    finetune(ctx, learner, rows, config)


def _worked(ctx: StageContext, template: Template) -> list[Row]:
    return [
        Row(template.question(problem), template.answer(worked_answer(problem)))
        for problem in read_problems(ctx.input("problems") / "train.parquet")
        if problem.solution
    ]


def _sampled(ctx: StageContext) -> list[Row]:
    return [
        Row(tuple(row["prompt_ids"]), tuple(row["token_ids"]))
        for row in read_rows([ctx.input("rollouts") / "rollouts.parquet"])
        if row["solved"] and row["finish_reason"] == "stop"
    ]
