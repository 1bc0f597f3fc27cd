"""Train on answers: on worked ones (a cold start), on sampled ones (a teacher's, or the model's own), or on both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reforge.config.section import NONE
from reforge.environments.template import Template, worked_answer
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.frame.steps import finetune
from reforge.policy.batches import Row
from reforge.policy.learner import open_learner
from reforge.problems.position import position
from reforge.problems.store import read_problems
from reforge.records import Problem
from reforge.rollouts.store import read_rows


def run(ctx: StageContext) -> None:
    config = ctx.cfg.sft[ctx.key]
    learner = open_learner(ctx.input("init"), ctx.cfg.learner, ctx.seed)
    problems = [] if config.problems == NONE else read_problems(ctx.input("problems") / "train.parquet")
    families = {problem.id: problem.family for problem in problems if problem.family}
    answers = _worked(problems, Template(learner.tokenizer))
    answers += [] if config.rollouts == NONE else _sampled(ctx.input("rollouts") / "rollouts.parquet")
    if not answers:
        raise UserError(
            f"{ctx.where}: there is no answer to learn from. No problem of {config.problems} has a worked one, and "
            f"no rollout of {config.rollouts} solved its problem within its limit: sample more, or from a better model."
        )
    least = 1 - config.validation.share if config.validation else 1.0
    places = [position(families.get(id, id)) for id, _ in answers]
    rows, aside = (
        [row for (_, row), place in zip(answers, places, strict=True) if (place >= least) == held]
        for held in (False, True)
    )
    if config.validation and not (rows and aside):
        raise UserError(
            f"{ctx.where}.validation.share={config.validation.share:g} of {len(answers)} answers leaves {len(rows)} to "
            f"learn from and {len(aside)} aside: families are taken whole, by the hash of their names. Change the "
            "share, or learn from more answers."
        )
    finetune(ctx, learner, rows, aside, config)


def _worked(problems: Sequence[Problem], template: Template) -> list[tuple[str, Row]]:
    """Return each worked answer with the id of its problem."""
    return [
        (problem.id, Row(template.question(problem), template.answer(worked_answer(problem))))
        for problem in problems
        if problem.solution
    ]


def _sampled(rollouts: Path) -> list[tuple[str, Row]]:
    return [
        (row["problem_id"], Row(tuple(row["prompt_ids"]), tuple(row["token_ids"])))
        for row in read_rows([rollouts])
        if row["solved"] and row["finish_reason"] == "stop"
    ]
