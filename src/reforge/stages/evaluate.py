"""Score one model on held-out problems (or on those for training), at every completion limit."""

from __future__ import annotations

import json

from reforge.environments.prompts import build_prompt, decoder
from reforge.environments.scorer import score
from reforge.evaluation.limits import cut
from reforge.evaluation.scores import Outcome, score_table
from reforge.frame.context import StageContext
from reforge.frame.judge import judge_of
from reforge.frame.room import require_room
from reforge.frame.sampler import sampler_of
from reforge.machine import progress
from reforge.policy.model import load_tokenizer
from reforge.problems.store import read_problems
from reforge.records import Problem, Reward, Rollout
from reforge.rollouts.refusal import refusal
from reforge.rollouts.sampler import Sampling
from reforge.rollouts.store import to_row, write_rows
from reforge.training.scoring import score_as_they_finish


def run(ctx: StageContext) -> None:
    config, model = ctx.cfg.evaluate[ctx.key], ctx.input("model")
    problems = {p.id: p for p in read_problems(ctx.input("problems") / f"{config.side}.parquet")[: config.count]}
    tokenizer = load_tokenizer(model)
    prompts = [build_prompt(problem, tokenizer) for problem in problems.values()]
    require_room(model, ctx.name, config.limits(), {config.side: [len(prompt.token_ids) for prompt in prompts]})
    longest = Sampling(config.temperature, config.top_p, max(config.lengths.values()))
    decode, rows, outcomes = decoder(tokenizer), [], []
    with (
        judge_of(ctx) as judge,
        sampler_of(ctx, model, tokenizer, config.temperature) as sampler,
    ):
        # The same seed for every model: paired rollouts.
        rollouts = sampler.sample(prompts, config.rollouts, longest, f"{ctx.cfg.seed}/evaluate")
        bar = progress.bar(rollouts, total=len(prompts) * config.rollouts, desc=ctx.name, unit="rollout")
        drawn = list(bar)
        for name, limit in config.lengths.items():
            shorter = (cut(rollout, limit, decode) for rollout in drawn)
            groups = score_as_they_finish(
                shorter, lambda r: score(r, problems[r.problem_id], judge), prompts, ctx.cfg.sandbox.workers
            )
            for group in groups:
                for rollout, reward in zip(group.rollouts, group.rewards, strict=True):
                    rows.append(to_row(rollout, reward, length=name))
                    outcomes.append(_outcome(rollout, reward, problems[rollout.problem_id], name))
    scores = score_table(ctx.key, outcomes, config.ks, config.confidence, config.lengths)
    for name, row in scores["lengths"].items():
        ctx.metrics[f"pass@1/{name}"] = row["pass@1"]["value"]
        ctx.metrics[f"truncated/{name}"] = row["truncated"]
    write_rows(ctx.out / "rollouts.parquet", rows)
    (ctx.out / "scores.json").write_text(json.dumps(scores, indent=1, sort_keys=True) + "\n")


def _outcome(rollout: Rollout, reward: Reward, problem: Problem, length: str) -> Outcome:
    return Outcome(
        problem_id=rollout.problem_id,
        difficulty=problem.difficulty,
        length_name=length,
        correct=None if refusal(rollout) else reward.solved,
        truncated=rollout.truncated,
        tokens=len(rollout.token_ids),
    )
