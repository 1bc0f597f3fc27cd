"""Problem → Prompt, and the worked answer in the same format. Token ids are made once, here, and never re-made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from reforge.records import Problem, Prompt

_THINK, _THOUGHT = "<think>", "</think>"


class Tokenizer(Protocol):
    eos_token: str

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...

    def encode(self, text: str, **options: Any) -> list[int]: ...

    def decode(self, token_ids: Any, **options: Any) -> Any: ...


def build_prompt(problem: Problem, tokenizer: Tokenizer) -> Prompt:
    """The statement as the user's turn, ending where the assistant's turn begins."""
    messages = [{"role": "user", "content": problem.statement}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return Prompt(problem.id, tuple(tokenizer.encode(text, add_special_tokens=False)))


def prompt_lengths(problems: Iterable[Problem], tokenizer: Tokenizer) -> list[int]:
    return [len(build_prompt(problem, tokenizer).token_ids) for problem in problems]


def worked_answer(problem: Problem) -> str:
    """Reasoning where there is some, then the program in a fence or the answer in a box: as rewards reads it."""
    thinking = f"{_THINK}\n{problem.thinking}\n{_THOUGHT}\n" if problem.thinking else ""
    if problem.tests and problem.tests[0].kind == "answer":
        return f"{thinking}\\boxed{{{problem.solution}}}"
    return f"{thinking}```python\n{problem.solution.rstrip()}\n```"


def answer_ids(answer: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of an assistant's turn, with the end token that must be learnt too."""
    if begun := begun_thinking(tokenizer):  # it must not be begun twice, and an answer without any has to end it
        answer = answer.removeprefix(f"{_THINK}\n") if answer.startswith(_THINK) else f"{_THOUGHT}\n{answer}"
        answer = answer if begun.endswith("\n") else f"\n{answer}"
    return tuple(tokenizer.encode(answer + tokenizer.eos_token, add_special_tokens=False))


def decoder(tokenizer: Tokenizer) -> Callable[[Sequence[int]], str]:
    """Token ids of a completion → the text that a grader reads: without special tokens, and with the beginning of the
    thinking where the template has written it, so that whoever never ends it is seen to have no answer."""
    begun = begun_thinking(tokenizer)
    return lambda token_ids: f"{begun}{tokenizer.decode(list(token_ids), skip_special_tokens=True)}"


def begun_thinking(tokenizer: Tokenizer) -> str:
    """The `<think>` with which the template begins an assistant's turn, and the blanks after it, as those of R1's
    distilled models do; empty where it does not."""
    messages = [{"role": "user", "content": "a"}]
    text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    at = text.rfind(_THINK)
    return text[at:] if at >= 0 and not text[at:].removeprefix(_THINK).strip() else ""
