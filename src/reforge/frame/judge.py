"""The sandbox as a stage uses it."""

from __future__ import annotations

import math
import os
from pathlib import Path

from reforge.config.sandbox import Sandbox
from reforge.frame.context import StageContext
from reforge.sandbox.judge import Isolation, Judge, Judging, Limits
from reforge.sandbox.service import RemoteJudge

KNOWN = Path(".runs") / "verdicts.jsonl"  # verdicts on reference programs, which run after run asks for


def judge_of(ctx: StageContext) -> Judging:
    """Return a judge with the limits of the config. One on this machine remembers its verdicts in the stage's scratch
    folder."""
    return _judge(ctx, ctx.scratch / "verdicts.jsonl")


def curation_judge(ctx: StageContext) -> Judging:
    """Return a judge like `judge_of`, but what it remembers serves every run of this project."""
    return _judge(ctx, KNOWN)


def _judge(ctx: StageContext, cache: Path) -> Judging:
    config = ctx.cfg.sandbox
    if config.urls:
        remote = RemoteJudge(
            config.urls, limits_of(config), config.workers, minimum_of(config), token(), packages=config.packages
        )
        ctx.facts["isolation"] = remote.isolation.label
        return remote
    judge = local_judge(config, cache)
    ctx.facts["isolation"] = judge.isolation.label
    return judge


def local_judge(config: Sandbox, cache: Path | None = None) -> Judge:
    return Judge(limits_of(config), config.workers, cache, minimum_of(config), config.packages)


def limits_of(config: Sandbox) -> Limits:
    budget = math.inf if config.budget_seconds is None else config.budget_seconds
    return Limits(
        config.cpu_seconds, config.wall_seconds, config.memory_mb, config.output_kb, budget, exposed=config.exposed
    )


def minimum_of(config: Sandbox) -> Isolation:
    return Isolation[config.minimum_isolation.upper()]


def token() -> str:
    """Return the secret that the servers of `reforge judge serve` share with their clients; it stands in no file of
    ours. Empty where it is not set."""
    return os.environ.get("REFORGE_JUDGE_TOKEN", "")
