"""The way in which a model is asked and its completion is read: prompt text, worked answers in the same format,
thinking and answer of a completion. Token ids are made once, here, and never re-made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reforge.records import Problem

_THINK, _THOUGHT = "<think>", "</think>"


class Tokenizer(Protocol):
    eos_token: str

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...

    def encode(self, text: str, **options: Any) -> list[int]: ...

    def decode(self, token_ids: Any, **options: Any) -> Any: ...


@dataclass(frozen=True)
class Parsed:
    """A completion in its parts. `answer` is what follows the thinking, None where that never ends: nothing in it
    counts. `well_formed`: it thinks once, ends the thinking, and then answers.
    """

    answer: str | None
    well_formed: bool


def parse(text: str) -> Parsed:
    """Read a completion as `Template.decode` gives it. The opening tag may have been in the prompt."""
    thinking, closed, answer = text.rpartition(_THOUGHT)
    before, opened, _ = answer.partition(_THINK)
    found = before if closed or not opened else None
    well_formed = bool(closed and not opened and answer.strip()) and _THOUGHT not in thinking
    return Parsed(found, well_formed and thinking.count(_THINK) == 1 and thinking.lstrip().startswith(_THINK))


def worked_answer(problem: Problem) -> str:
    """Return the worked answer in the form that `parse` reads: reasoning where there is some, then the program in a
    fence or the answer in a box."""
    thinking = f"{_THINK}\n{problem.thinking}\n{_THOUGHT}\n" if problem.thinking else ""
    if problem.goal == "answer":
        return f"{thinking}\\boxed{{{problem.solution}}}"
    return f"{thinking}```python\n{problem.solution.rstrip()}\n```"


class Template:
    """The chat template of a tokenizer.

    Some templates (of R1's distilled models) write `<think>` themselves at the end of a prompt: then answers to learn
    from must not begin it again, and completions are read with it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        text = self._text([{"role": "user", "content": "a"}])
        at = text.rfind(_THINK)
        self._begun = text[at:] if at >= 0 and not text[at:].removeprefix(_THINK).strip() else ""

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Return the token ids of a conversation (`role`, `content`), ending where the assistant's turn begins."""
        return tuple(self._tokenizer.encode(self._text(messages), add_special_tokens=False))

    def question(self, problem: Problem) -> tuple[int, ...]:
        """Return the prompt that is the problem's statement and nothing else."""
        return self.prompt([{"role": "user", "content": problem.statement}])

    def lengths(self, problems: Iterable[Problem]) -> list[int]:
        return [len(self.question(problem)) for problem in problems]

    def answer(self, text: str) -> tuple[int, ...]:
        """Return the token ids of an assistant's turn, with the end token that must be learnt too."""
        if self._begun:  # thinking must not be begun twice, and an answer without any has to end it
            text = text.removeprefix(f"{_THINK}\n") if text.startswith(_THINK) else f"{_THOUGHT}\n{text}"
            text = text if self._begun.endswith("\n") else f"\n{text}"
        return tuple(self._tokenizer.encode(text + self._tokenizer.eos_token, add_special_tokens=False))

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of a completion that a grader reads: without special tokens, and with the beginning of the
        thinking where the template has written it, so that whoever never ends it is seen to have no answer."""
        return f"{self._begun}{self._tokenizer.decode(list(token_ids), skip_special_tokens=True)}"

    def _text(self, messages: Sequence[Mapping[str, str]]) -> str:
        return str(
            self._tokenizer.apply_chat_template([*map(dict, messages)], tokenize=False, add_generation_prompt=True)
        )
