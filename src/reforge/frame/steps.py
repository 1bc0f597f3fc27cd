"""A resumable, tracked run of training/sft.py."""

from __future__ import annotations

from collections.abc import Sequence

from reforge.config.training import Sft
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.machine import progress
from reforge.policy.batches import Row
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone
from reforge.training import checkpoint, sft

_ACCURACY = "validation/accuracy"


def finetune(ctx: StageContext, learner: Learner, rows: Sequence[Row], aside: Sequence[Row], config: Sft) -> None:
    """Train `learner` on `rows`, continuing from the stage's checkpoint, and write it to `out/model`; with validation,
    as it was where it did best on the rows `aside`."""
    folder, best, validation = ctx.scratch / "checkpoint", ctx.scratch / "best", config.validation
    steps = sft.steps_of(config, len(rows))
    if validation and steps < validation.every:
        raise UserError(
            f"{ctx.where}.validation.every={validation.every}: there are {steps} steps, so nothing would ever be "
            "measured. Lower it, or make more steps."
        )
    start = checkpoint.resume(learner, folder)
    ctx.tracker.rewind(start)
    if start and sft.best_step(ctx.tracker.series(_ACCURACY)) == start:
        checkpoint.save(learner, best, start)  # it may have been killed right before that
    bar = progress.bar(total=steps, initial=start, desc=ctx.name, unit="step")

    def rate_of(step: int) -> float:
        return sft.rate_of_step(config, ctx.tracker.series(_ACCURACY), step, steps)

    def goes_on(step: int) -> bool:
        return not sft.ended(config, ctx.tracker.series(_ACCURACY), step)

    def after_step(step: int, metrics: dict[str, float], timings: dict[str, float]) -> bool:
        if validation and step % validation.every == 0:
            metrics |= sft.validate(learner, aside)
        ctx.tracker.log(step, metrics, timings)
        is_best = sft.best_step(ctx.tracker.series(_ACCURACY)) == step
        if is_best or step % config.checkpoint_every == 0:
            checkpoint.save(learner, folder, step)
        if is_best:  # after the stage's own checkpoint: no run goes on from before its best
            checkpoint.save(learner, best, step)
        bar.set_postfix(loss=f"{metrics['loss']:.3f}")
        bar.update()
        return goes_on(step)

    if goes_on(start):
        sft.train(learner, rows, config, ctx.seed, rate_of, after_step, start)
    bar.close()
    if validation:
        ctx.metrics["steps"] = float(checkpoint.resume(learner, best))
        ctx.metrics[_ACCURACY] = ctx.tracker.series(_ACCURACY)[int(ctx.metrics["steps"])]
    ctx.metrics["loss"] = ctx.tracker.last()["loss"]
    ctx.metrics["rows"] = float(len(rows))
    everyone(Learner.save_model, learner, ctx.out / "model")
