"""One context rung of reinforcement learning, from the weights of the stage before it."""

from __future__ import annotations

import shutil

from tqdm import tqdm

from reforge.errors import UserError
from reforge.policy.learner import Learner, open_learner
from reforge.policy.model import load_tokenizer
from reforge.policy.ranks import everyone
from reforge.problems.store import read_problems
from reforge.prompts import build_prompt
from reforge.rewards import score
from reforge.sandbox.selection import longest_inputs
from reforge.stages.contract import StageContext
from reforge.stages.grading import judge_of
from reforge.stages.sampling import sampler_of
from reforge.training import checkpoint, grpo
from reforge.training.handover import hand_over


def run(ctx: StageContext) -> None:
    config = ctx.cfg.rl
    rung = config.rungs[ctx.key]
    known = read_problems(ctx.dep("problems") / "train.parquet")
    problems = {problem.id: longest_inputs(problem, config.reward_tests) for problem in known}
    tokenizer = load_tokenizer(ctx.dep("model"))
    prompts = [build_prompt(problem, tokenizer) for problem in problems.values()]
    fitting = [prompt for prompt in prompts if len(prompt.token_ids) <= config.max_prompt_tokens]
    if not fitting:
        shortest = min((len(prompt.token_ids) for prompt in prompts), default=0)
        raise UserError(
            f"No prompt is within rl.max_prompt_tokens = {config.max_prompt_tokens}; the least has {shortest}."
        )
    ctx.metrics["prompts/too_long"] = float(len(prompts) - len(fitting))
    weights, states = ctx.scratch / "weights", ctx.scratch / "checkpoint"
    with (
        judge_of(ctx) as judge,
        sampler_of(ctx, tokenizer) as sampler,
    ):
        learner = open_learner(ctx.dep("model"), ctx.cfg.learner, ctx.seed, reference=config.loss.kl is not None)
        start = checkpoint.resume(learner, states)
        ctx.tracker.rewind(start)
        hand_over(learner, sampler, weights, start, [fitting[0].token_ids], ctx.cfg.sampler.parity_tolerance)
        bar = tqdm(total=rung.steps, initial=start, desc=ctx.name, unit="step")

        def after_step(step: int, metrics: dict[str, float], timings: dict[str, float]) -> None:
            ctx.tracker.log(step, metrics, timings)
            if step % config.checkpoint_every == 0:
                checkpoint.save(learner, states, step)
            bar.set_postfix(reward=f"{metrics['reward/mean']:.2f}", truncated=f"{metrics['truncated']:.0%}")
            bar.update()
            ctx.metrics.update(metrics)

        grpo.train(
            grpo.Run(
                learner=learner,
                sampler=sampler,
                score=lambda rollout: score(rollout, problems[rollout.problem_id], judge),
                prompts=fitting,
                config=config,
                rung=rung,
                seed=ctx.seed,
                parity_tolerance=ctx.cfg.sampler.parity_tolerance,
                graders=ctx.cfg.sandbox.workers,
                rollouts_folder=ctx.scratch / "rollouts",
                weights_folder=weights,
                after_step=after_step,
            ),
            start,
        )
        bar.close()
        everyone(Learner.save_model, learner, ctx.out / "model")
    shutil.copytree(ctx.scratch / "rollouts", ctx.out / "rollouts")
