"""The model that everything starts from: a tokenizer and a random policy made here, or a local checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

from reforge.policy.model import check_checkpoint, load_model, new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.store import read_problems
from reforge.prompts import worked_answer
from reforge.stages.contract import StageContext

_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt")  # never pickled weights, never code


def run(ctx: StageContext) -> None:
    folder = ctx.out / "model"
    if ctx.cfg.model.path:
        source = Path(ctx.cfg.model.path)
        check_checkpoint(source)
        folder.mkdir()
        for pattern in _WANTED:
            for path in source.glob(pattern):
                shutil.copy(path, folder)
    else:
        problems = read_problems(ctx.dep("problems") / "train.parquet")
        texts = (text for problem in problems for text in (problem.statement, worked_answer(problem)))
        tokenizer = train_tokenizer(texts, ctx.cfg.model.vocab_size)
        save_model(new_model(ctx.cfg.model.architecture, tokenizer, ctx.seed), tokenizer, folder)
    model = load_model(folder)
    ctx.metrics["parameters"] = float(sum(parameter.numel() for parameter in model.parameters()))
    ctx.metrics["vocabulary"] = float(model.config.vocab_size)
