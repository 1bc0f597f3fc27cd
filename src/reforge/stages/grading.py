"""The sandbox as a stage uses it."""

from __future__ import annotations

from reforge.sandbox.judge import Judge, Limits
from reforge.stages.contract import StageContext


def judge_of(ctx: StageContext) -> Judge:
    """A judge with the limits of the config, which remembers its verdicts in the stage's scratch folder."""
    config = ctx.cfg.sandbox
    limits = Limits(config.cpu_seconds, config.wall_seconds, config.memory_mb, config.output_kb)
    return Judge(limits, config.workers, ctx.scratch / "verdicts.jsonl")
