"""A resumable, tracked run of training/sft.py."""

from __future__ import annotations

from collections.abc import Sequence

from reforge.config.training import Sft
from reforge.frame.context import StageContext
from reforge.machine import progress
from reforge.policy.batches import Row
from reforge.policy.learner import Learner
from reforge.policy.ranks import everyone
from reforge.training import checkpoint, sft


def finetune(ctx: StageContext, learner: Learner, rows: Sequence[Row], config: Sft) -> None:
    """Train `learner` on `rows`, continuing from the stage's checkpoint, and write it to `out/model`."""
    folder = ctx.scratch / "checkpoint"
    start = checkpoint.resume(learner, folder)
    ctx.tracker.rewind(start)
    bar = progress.bar(total=sft.steps_of(config, len(rows)), initial=start, desc=ctx.name, unit="step")

    def after_step(step: int, metrics: dict[str, float], timings: dict[str, float]) -> None:
        ctx.tracker.log(step, metrics, timings)
        if step % config.checkpoint_every == 0:
            checkpoint.save(learner, folder, step)
        bar.set_postfix(loss=f"{metrics['loss']:.3f}")
        bar.update()

    sft.train(learner, rows, config, ctx.seed, after_step, start)
    bar.close()
    ctx.metrics["loss"] = ctx.tracker.last()["loss"]
    ctx.metrics["rows"] = float(len(rows))
    everyone(Learner.save_model, learner, ctx.out / "model")
