"""A policy answers training problems, and the sandbox judges what it says: answers that others can learn from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from reforge.environments.template import Template
from reforge.frame.context import StageContext
from reforge.frame.environment import environment_of, graders
from reforge.frame.judge import judge_of
from reforge.frame.room import require_room, room_for_prompts
from reforge.frame.sampler import sampler_of
from reforge.machine import progress
from reforge.policy.folder import load_tokenizer
from reforge.problems.store import read_problems
from reforge.records import Prompt, Rollout, solved_by_attempt
from reforge.rollouts.play import play
from reforge.rollouts.sampler import Sampling
from reforge.rollouts.store import to_row, write_rows


def run(ctx: StageContext) -> None:
    config = ctx.cfg.sample[ctx.key]
    known = read_problems(ctx.input("problems") / "train.parquet")
    asked = random.Random(ctx.seed).sample(known, min(config.count, len(known)))
    problems = {problem.id: problem for problem in asked}
    tokenizer = load_tokenizer(ctx.input("model"))
    template = Template(tokenizer)
    require_room(ctx.input("model"), ctx.name, config.completion_limits(), {"train": template.lengths(asked)})
    sampling = Sampling(config.temperature, 1.0, config.max_tokens)
    with (
        judge_of(ctx) as judge,
        sampler_of(ctx, ctx.input("model"), tokenizer, config.temperature) as sampler,
        graders(ctx.cfg.sandbox.workers) as pool,
    ):
        environment = environment_of(config.environment, {"accuracy": 1.0}, config.own, problems, template, judge)

        def sample(wave: Sequence[Prompt]) -> Iterator[Rollout]:
            rollouts = sampler.sample(wave, sampling, str(ctx.seed))
            yield from progress.bar(rollouts, total=len(wave), desc=ctx.name, unit="answer")

        room, turns = room_for_prompts(ctx.input("model"), config.max_tokens), config.environment.turns
        groups = play(environment, sample, list(problems), config.answers, turns, pool, room).groups()
    rows = [
        to_row(rollout, reward)
        for group in groups
        for rollout, reward in zip(group.rollouts, group.rewards, strict=True)
    ]
    ctx.metrics["rollouts"] = float(len(rows))
    solved = solved_by_attempt(((row["problem_id"], row["index"]), row["solved"]) for row in rows)
    ctx.metrics["solved"] = sum(map(bool, solved.values())) / len(solved)
    write_rows(ctx.out / "data" / "rollouts.parquet", rows)
