"""Score one model on held-out problems (or on those for training), at every completion limit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from reforge.environments.template import Template
from reforge.evaluation.cut import cut
from reforge.evaluation.scores import Outcome, score_table
from reforge.frame.context import StageContext
from reforge.frame.environment import environment_of, graders
from reforge.frame.judge import judge_of
from reforge.frame.room import require_room, room_for_prompts
from reforge.frame.sampler import sampler_of
from reforge.machine import progress
from reforge.policy.folder import load_tokenizer
from reforge.problems.store import read_problems
from reforge.records import Problem, Prompt, Reward, Rollout, solved_by_attempt
from reforge.rollouts.play import play
from reforge.rollouts.refusal import refusal
from reforge.rollouts.sampler import Sampler, Sampling
from reforge.rollouts.store import to_row, write_rows


def run(ctx: StageContext) -> None:
    config, model = ctx.cfg.evaluate[ctx.key], ctx.input("model")
    problems = {p.id: p for p in read_problems(ctx.input("problems") / f"{config.side}.parquet")[: config.count]}
    tokenizer = load_tokenizer(model)
    template = Template(tokenizer)
    require_room(model, ctx.name, config.completion_limits(), {config.side: template.lengths(problems.values())})
    rows, outcomes = list[dict[str, Any]](), list[Outcome]()
    with (
        judge_of(ctx) as judge,
        sampler_of(ctx, model, tokenizer, config.temperature) as sampler,
        graders(ctx.cfg.sandbox.workers) as pool,
    ):
        environment = environment_of(config.environment, {"accuracy": 1.0}, config.own, problems, template, judge)
        draws = _Draws(ctx, sampler, template)
        for name, max_tokens in config.limits.items():
            sample = partial(draws.sample, max_tokens)
            room, turns = room_for_prompts(model, max_tokens), config.environment.turns
            played = play(environment, sample, list(problems), config.rollouts, turns, pool, room)
            for group in played.groups():
                members = list(zip(group.rollouts, group.rewards, strict=True))
                rows += [to_row(rollout, reward, limit=name) for rollout, reward in members]
                outcomes += _outcomes(members, problems[group.problem_id], name)
    scores = score_table(ctx.key, outcomes, config.ks, config.confidence, config.limits)
    for name, row in scores["limits"].items():
        ctx.metrics[f"pass@1/{name}"] = row["pass@1"]["value"]
        ctx.metrics[f"truncated/{name}"] = row["truncated"]
    write_rows(ctx.out / "rollouts.parquet", rows)
    (ctx.out / "scores.json").write_text(json.dumps(scores, indent=1, sort_keys=True) + "\n")


class _Draws:
    """The draws of an evaluation. First turns are drawn once, at the longest limit, and cut for each; what follows
    depends on the cut."""

    def __init__(self, ctx: StageContext, sampler: Sampler, template: Template) -> None:
        self._config, self._name, self._sampler, self._template = ctx.cfg.evaluate[ctx.key], ctx.name, sampler, template
        self._seed = f"{ctx.cfg.seed}/evaluate"  # the same for every model: paired rollouts
        self._first: list[Rollout] = []

    def sample(self, max_tokens: int, wave: Sequence[Prompt]) -> Iterator[Rollout]:
        if wave[0].turn:
            yield from self._draw(wave, max_tokens)
            return
        self._first = self._first or list(self._draw(wave, max(self._config.limits.values())))
        yield from (cut(rollout, max_tokens, self._template.decode) for rollout in self._first)

    def _draw(self, wave: Sequence[Prompt], max_tokens: int) -> Iterator[Rollout]:
        sampling = Sampling(self._config.temperature, self._config.top_p, max_tokens)
        rollouts = self._sampler.sample(wave, sampling, self._seed)
        yield from progress.bar(rollouts, total=len(wave), desc=self._name, unit="rollout")


def _outcomes(members: Sequence[tuple[Rollout, Reward]], problem: Problem, limit: str) -> list[Outcome]:
    """Return one outcome for each attempt: it has solved the problem where one of its turns has."""
    last = {rollout.index: rollout for rollout, _ in members}
    solved = solved_by_attempt(
        (rollout.index, None if refusal(rollout) else reward.solved) for rollout, reward in members
    )
    return [
        Outcome(
            problem_id=problem.id,
            difficulty=problem.difficulty,
            limit=limit,
            correct=solved[index],
            truncated=rollout.truncated,
            tokens=sum(len(one.token_ids) for one, _ in members if one.index == index),
        )
        for index, rollout in last.items()
    ]
