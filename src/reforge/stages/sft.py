"""The cold start: supervised steps on worked solutions, stopped while RL still has room."""

from __future__ import annotations

from reforge.environments.prompts import answer_ids, build_prompt, worked_answer
from reforge.frame.context import StageContext
from reforge.frame.steps import finetune
from reforge.policy.batches import Row
from reforge.policy.learner import open_learner
from reforge.problems.store import read_problems


def run(ctx: StageContext) -> None:
    problems = read_problems(ctx.dep("problems") / "train.parquet")
    learner = open_learner(ctx.dep("model"), ctx.cfg.learner, ctx.seed)
    rows = [
        Row(build_prompt(problem, learner.tokenizer).token_ids, answer_ids(worked_answer(problem), learner.tokenizer))
        for problem in problems
        if problem.solution
    ]
    finetune(ctx, learner, rows, ctx.cfg.sft)
