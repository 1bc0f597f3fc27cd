"""Train one context rung by reinforcement learning, from the weights of the stage before it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from reforge.environments.selection import longest_inputs
from reforge.environments.template import Template
from reforge.errors import Events, UserError
from reforge.frame.context import StageContext
from reforge.frame.environment import environment_of, graders
from reforge.frame.judge import judge_of
from reforge.frame.room import require_room, room_for_prompts
from reforge.frame.sampler import sampler_of
from reforge.machine import progress
from reforge.policy.folder import load_tokenizer
from reforge.policy.learner import Learner, open_learner
from reforge.policy.ranks import everyone
from reforge.problems.store import read_problems
from reforge.rollouts.play import Played, play
from reforge.rollouts.sampler import Sampling
from reforge.tracking.timeline import Timeline, steady_clock
from reforge.tracking.timeline_page import bottleneck, render_timeline, shares
from reforge.training import checkpoint, grpo
from reforge.training.handover import folder_of
from reforge.training.recorder import Recorder
from reforge.training.schedule import older_versions
from reforge.training.watched import Watched

_MEMORY = Path("/dev/shm")


def run(ctx: StageContext) -> None:
    config, init = ctx.cfg.rl[ctx.key], ctx.input("init")
    known = read_problems(ctx.input("problems") / "train.parquet")
    problems = {problem.id: longest_inputs(problem, config.reward_tests) for problem in known}
    tokenizer = load_tokenizer(init)
    template = Template(tokenizer)
    questions = _fitting(ctx, {name: template.question(problem) for name, problem in problems.items()})
    room = room_for_prompts(init, config.max_tokens)
    states, weights = ctx.scratch / "checkpoint", _handover(ctx)
    timeline = Timeline(ctx.log_folder / "timeline.json", steady_clock())
    with (
        judge_of(ctx) as judge,
        sampler_of(ctx, init, tokenizer, config.temperature) as sampler,
        _removed(weights),
        graders(ctx.cfg.sandbox.workers) as pool,
    ):
        sampler.working = lambda number: timeline.span(f"vllm {number}", "sample")
        events = {"sampler": sampler.events, "judge": judge.events}
        show(timeline, events)
        environment = environment_of(config.environment, config.reward, config.own, problems, template, judge)
        learner = open_learner(init, ctx.cfg.learner, ctx.seed, reference=config.loss.kl is not None)
        start = checkpoint.resume(learner, states)
        checkpoint.restore_policies(states, start, weights)
        ctx.tracker.rewind(start)
        bar = progress.bar(total=config.steps, initial=start, desc=ctx.name, unit="step")

        def draw(step: int) -> Played:
            order = ctx.seed if config.order == "shuffled" else None
            chosen = grpo.problems_of_step(list(questions), config.batch, step, order)
            sampling = Sampling(config.temperature, 1.0, config.max_tokens)
            sample = partial(sampler.sample, sampling=sampling, seed=f"{ctx.seed}/{step}")
            watched = Watched(environment, timeline, step)
            return play(watched, sample, chosen, config.group_size, config.environment.turns, pool, room)

        def after_step(step: int, metrics: dict[str, float], timings: dict[str, float]) -> None:
            ctx.tracker.log(step, metrics, timings | counts(events))
            if step % config.checkpoint_every == 0:
                kept = [folder_of(weights, old) for old in older_versions(step, config.staleness, config.steps)]
                checkpoint.save(learner, states, step, kept)
            bar.set_postfix(reward=f"{metrics['reward/mean']:.2f}", truncated=f"{metrics['truncated']:.0%}")
            bar.update()

        grpo.train(
            grpo.Run(
                learner=learner,
                sampler=sampler,
                draw=draw,
                canaries=list(questions.values())[: grpo.CANARIES],
                config=config,
                recorder=Recorder(ctx.scratch / "rollouts", ctx.tracker.recomputed),
                weights_folder=weights,
                timeline=timeline,
                after_step=after_step,
            ),
            start,
        )
        bar.close()
        ctx.metrics.update(ctx.tracker.last())
        everyone(Learner.save_model, learner, ctx.out / "model")
    shutil.copytree(ctx.scratch / "rollouts", ctx.out / "rollouts")
    _draw_timeline(ctx, timeline)


def _fitting(ctx: StageContext, questions: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the prompts that are not too long, by problem. Raises UserError where none is left."""
    config = ctx.cfg.rl[ctx.key]
    fitting = {name: ids for name, ids in questions.items() if len(ids) <= config.max_prompt_tokens}
    if not fitting:
        shortest = min(map(len, questions.values()), default=0)
        raise UserError(
            f"No prompt is within {ctx.where}.max_prompt_tokens = {config.max_prompt_tokens}; the least has {shortest}."
        )
    require_room(ctx.input("init"), ctx.name, config.completion_limits(), {"train": [*map(len, fitting.values())]})
    ctx.metrics["prompts/too_long"] = float(len(questions) - len(fitting))
    return fitting


def show(timeline: Timeline, events: Mapping[str, Events]) -> None:
    """Show each event of a part on the timeline, the moment it happens."""
    for part, of in events.items():
        of.tell = partial(timeline.moment, part)


def counts(events: Mapping[str, Events]) -> dict[str, float]:
    return {f"{part}/{what}": float(number) for part, of in events.items() for what, number in of.counts.items()}


def _handover(ctx: StageContext) -> Path:
    """Return where policies are published. The folder is this stage's alone, so what a killed one left there is found
    and removed. Raises UserError where memory has no room for it."""
    if ctx.cfg.sampler.handover == "files":
        return ctx.scratch / "weights"
    name = hashlib.sha256(str(ctx.scratch.resolve()).encode()).hexdigest()[:16]
    folder = _MEMORY / f"reforge-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    size = sum(path.stat().st_size for path in ctx.input("init").glob("*.safetensors"))
    wanted, free = (
        size * (ctx.cfg.rl[ctx.key].staleness + 2),
        shutil.disk_usage(_MEMORY).free if _MEMORY.is_dir() else 0,
    )
    if wanted > free:
        raise UserError(
            f"{_MEMORY} has {free / 2**20:.0f} MiB free, and {wanted / 2**20:.0f} are needed to hand policies over in "
            "memory. Give the container more (docker run --shm-size), or take sampler.handover=files."
        )
    return folder


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _draw_timeline(ctx: StageContext, timeline: Timeline) -> None:
    page = ctx.log_folder / "timeline.html"
    page.write_text(render_timeline(ctx.name, timeline.spans))
    for path in (timeline.path, page):
        ctx.tracker.artifact(path)
    tqdm.write(f"{ctx.name}: {bottleneck(shares(timeline.spans))} ({page})")
