"""The model that everything starts from: a tokenizer and a random policy made here, or a local checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from reforge.environments.prompts import Tokenizer, build_prompt, worked_answer
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.policy.examine import Needs, context_of, examine
from reforge.policy.model import check_checkpoint, new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.problems.store import read_problems
from reforge.records import Problem

_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt")  # never pickled weights, never code


_ANSWERS = 32  # worked answers that the tokenizer must give back


def run(ctx: StageContext) -> None:
    folder = ctx.out / "model"
    train = read_problems(ctx.dep("problems") / "train.parquet")
    if ctx.cfg.model.path:
        source = Path(ctx.cfg.model.path)
        check_checkpoint(source)
        folder.mkdir()
        for pattern in _WANTED:
            for path in source.glob(pattern):
                shutil.copy(path, folder)
    else:
        source = folder
        texts = (text for problem in train for text in (problem.statement, worked_answer(problem)))
        tokenizer = train_tokenizer(texts, ctx.cfg.model.vocab_size)
        save_model(new_model(ctx.cfg.model.architecture, tokenizer, ctx.seed), tokenizer, folder)
    answers = [worked_answer(problem) for problem in train if problem.solution][:_ANSWERS]
    learner = ctx.cfg.learner
    model, tokenizer = examine(
        source, Needs(learner.lora, learner.sequence_parallel, ctx.cfg.sampler.tensor_parallel, answers)
    )
    _check_room(ctx, *context_of(source, model), _longest_prompts(ctx, tokenizer, train))
    ctx.metrics["parameters"] = float(sum(parameter.numel() for parameter in model.parameters()))
    ctx.metrics["vocabulary"] = float(model.config.vocab_size)


def _longest_prompts(ctx: StageContext, tokenizer: Tokenizer, train: Sequence[Problem]) -> dict[str, int]:
    """Return the lengths in tokens of the longest prompts: for training, and for evaluation."""
    evaluate = ctx.cfg.evaluate
    evaluated = read_problems(ctx.dep("problems") / f"{evaluate.side}.parquet")[: evaluate.problems]
    return {
        use: max((len(build_prompt(problem, tokenizer).token_ids) for problem in problems), default=0)
        for use, problems in {"train": train, "evaluate": evaluated}.items()
    }


def _check_room(ctx: StageContext, context: int, where: str, prompts: Mapping[str, int]) -> None:
    """Every prompt must fit with the longest answer to it: the sampler refuses what does not."""
    rl, evaluate = ctx.cfg.rl, ctx.cfg.evaluate
    trained = min(prompts["train"], rl.max_prompt_tokens)
    wanted = {f"rl.rungs.{name}.max_tokens": (rung.max_tokens, trained) for name, rung in rl.rungs.items()}
    wanted["distill.max_tokens"] = ctx.cfg.distill.max_tokens, prompts["train"]
    wanted |= {f"evaluate.lengths.{name}": (length, prompts["evaluate"]) for name, length in evaluate.lengths.items()}
    for key, (answer, prompt) in wanted.items():
        if prompt + answer > context:
            raise UserError(
                f"{key} is {answer} and the longest prompt has {prompt} tokens: together more than {context}, which is "
                f"{where}. Lower that limit (or rl.max_prompt_tokens, or problems.statement_characters), or raise the "
                "model's if it was trained for more."
            )
