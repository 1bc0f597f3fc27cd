"""The model that everything starts from: a tokenizer and a random policy made here, or a local checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from reforge.environments.template import Template, Tokenizer, worked_answer
from reforge.frame.context import StageContext
from reforge.frame.room import require_room
from reforge.policy.examine import Needs, examine
from reforge.policy.folder import check_checkpoint
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.store import read_problems
from reforge.records import Problem

_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt")  # never pickled weights, never code
_ANSWERS = 32  # worked answers that the tokenizer must give back


def run(ctx: StageContext) -> None:
    cfg, folder = ctx.cfg.base[ctx.key], ctx.out / "model"
    train = read_problems(ctx.input("texts") / "train.parquet")
    answers = [worked_answer(problem) for problem in train if problem.solution]
    if cfg.path:
        source = Path(cfg.path)
        check_checkpoint(source)
        folder.mkdir()
        for pattern in _WANTED:
            for path in source.glob(pattern):
                shutil.copy(path, folder)
    else:
        source = folder
        tokenizer = train_tokenizer([*(problem.statement for problem in train), *answers], cfg.vocab_size)
        save_model(new_model(cfg.architecture, tokenizer, ctx.seed), tokenizer, folder)
    learner = ctx.cfg.learner
    model, tokenizer = examine(
        source, Needs(learner.lora, learner.sequence_parallel, ctx.cfg.sampler.tensor_parallel, answers[:_ANSWERS])
    )
    _require_room(ctx, source, tokenizer, train)
    ctx.metrics["parameters"] = float(sum(parameter.numel() for parameter in model.parameters()))
    ctx.metrics["vocabulary"] = float(model.config.vocab_size)


def _require_room(ctx: StageContext, folder: Path, tokenizer: Tokenizer, train: Sequence[Problem]) -> None:
    """Check now that the model has room for what later stages will sample on the same problems; each stage checks again
    for itself."""
    texts = ctx.input("texts")
    sides = {"train": train, "heldout": read_problems(texts / "heldout.parquet")}
    template = Template(tokenizer)
    prompts = {side: template.lengths(problems) for side, problems in sides.items()}
    for name, instance in ctx.later.items():
        if ctx.cfg.base[ctx.key].texts in instance.inputs().values():
            require_room(folder, name, instance.completion_limits(), prompts)
