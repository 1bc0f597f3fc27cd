"""The trained policy answers training problems; a smaller student learns from the answers that pass every test."""

from __future__ import annotations

import random

from reforge.environments.prompts import build_prompt
from reforge.environments.scorer import score
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.frame.judge import judge_of
from reforge.frame.sampler import sampler_of
from reforge.frame.steps import finetune
from reforge.machine import progress
from reforge.policy.batches import Row
from reforge.policy.learner import open_learner
from reforge.policy.model import load_tokenizer, new_model, save_model
from reforge.problems.store import read_problems
from reforge.rollouts.sampler import Sampling
from reforge.rollouts.store import read_rows, to_row, write_rows
from reforge.training.scoring import score_as_they_finish


def run(ctx: StageContext) -> None:
    answers = ctx.scratch / "rollouts.parquet"
    if not answers.exists():  # a resumed stage keeps the teacher's answers
        _ask_teacher(ctx)
    given = read_rows([answers])
    ctx.metrics["teacher/verified"] = sum(bool(row["solved"]) for row in given) / len(given)
    rows = [
        Row(tuple(row["prompt_ids"]), tuple(row["token_ids"]))
        for row in given
        if row["solved"] and row["finish_reason"] == "stop"
    ]
    if not rows:
        raise UserError(
            "distill: the teacher answered no problem correctly, so there is nothing to learn from. Give the stages "
            "before more steps, or raise distill.problems."
        )
    tokenizer = load_tokenizer(ctx.dep("model"))
    untrained = ctx.scratch / "student"
    save_model(new_model(ctx.cfg.distill.student, tokenizer, ctx.seed), tokenizer, untrained)
    whole = ctx.cfg.learner.model_copy(update={"lora": None})  # there is nothing yet that could be added to
    learner = open_learner(untrained, whole, ctx.seed)
    finetune(ctx, learner, rows, ctx.cfg.distill.sft)
    write_rows(ctx.out / "rollouts.parquet", given)


def _ask_teacher(ctx: StageContext) -> None:
    config = ctx.cfg.distill
    problems = read_problems(ctx.dep("problems") / "train.parquet")
    asked = random.Random(ctx.seed).sample(problems, min(config.problems, len(problems)))
    by_id = {problem.id: problem for problem in asked}
    tokenizer = load_tokenizer(ctx.dep("model"))
    prompts = [build_prompt(problem, tokenizer) for problem in asked]
    sampling = Sampling(config.temperature, 1.0, config.max_tokens)
    with (
        judge_of(ctx) as judge,
        sampler_of(ctx, tokenizer, config.temperature) as sampler,
    ):
        rollouts = sampler.sample(prompts, config.answers, sampling, str(ctx.seed))
        bar = progress.bar(rollouts, total=len(prompts) * config.answers, desc=f"{ctx.name}: teacher", unit="answer")
        groups = score_as_they_finish(
            bar, lambda rollout: score(rollout, by_id[rollout.problem_id], judge), prompts, ctx.cfg.sandbox.workers
        )
    rows = [
        to_row(rollout, reward)
        for group in groups
        for rollout, reward in zip(group.rollouts, group.rewards, strict=True)
    ]
    write_rows(ctx.scratch / "rollouts.parquet", rows)
