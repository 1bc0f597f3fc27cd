"""A policy answers training problems, and the sandbox judges what it says: answers that others can learn from."""

from __future__ import annotations

import random

from reforge.environments.prompts import build_prompt
from reforge.environments.scorer import score
from reforge.frame.context import StageContext
from reforge.frame.judge import judge_of
from reforge.frame.room import require_room
from reforge.frame.sampler import sampler_of
from reforge.machine import progress
from reforge.policy.model import load_tokenizer
from reforge.problems.store import read_problems
from reforge.rollouts.sampler import Sampling
from reforge.rollouts.store import to_row, write_rows
from reforge.training.scoring import score_as_they_finish


def run(ctx: StageContext) -> None:
    config = ctx.cfg.sample[ctx.key]
    known = read_problems(ctx.input("problems") / "train.parquet")
    asked = random.Random(ctx.seed).sample(known, min(config.count, len(known)))
    problems = {problem.id: problem for problem in asked}
    tokenizer = load_tokenizer(ctx.input("model"))
    prompts = [build_prompt(problem, tokenizer) for problem in asked]
    lengths = [len(prompt.token_ids) for prompt in prompts]
    require_room(ctx.input("model"), ctx.name, config.limits(), {"train": lengths})
    sampling = Sampling(config.temperature, 1.0, config.max_tokens)
    with (
        judge_of(ctx) as judge,
        sampler_of(ctx, ctx.input("model"), tokenizer, config.temperature) as sampler,
    ):
        rollouts = sampler.sample(prompts, config.answers, sampling, str(ctx.seed))
        bar = progress.bar(rollouts, total=len(prompts) * config.answers, desc=ctx.name, unit="answer")
        groups = score_as_they_finish(
            bar, lambda rollout: score(rollout, problems[rollout.problem_id], judge), prompts, ctx.cfg.sandbox.workers
        )
    rows = [
        to_row(rollout, reward)
        for group in groups
        for rollout, reward in zip(group.rollouts, group.rewards, strict=True)
    ]
    ctx.metrics["rollouts"] = float(len(rows))
    ctx.metrics["solved"] = sum(bool(row["solved"]) for row in rows) / len(rows)
    write_rows(ctx.out / "data" / "rollouts.parquet", rows)
