"""Check what the stages ask of a checkpoint's tokenizer: it frames a chat, ends it, and gives back every text it is
given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reforge.errors import UserError

_USER, _ANSWER = "Write solve(x): the sum of x's even numbers.", "```python\ndef solve(x):\n    return 0\n```"
# What rewards read in an answer: thinking, a program with its indents, a final answer in a box.
_TEXTS = (
    "<think>\nlist: keep x[::-1] , then sum .\n</think>\n```python\ndef solve(x):\n    y = [a  for a in x]\n\treturn y"
    "\n```",
    "<think>\nBoth ways ' s agree .\n</think>\n\\boxed{\\frac{1}{2}}",
)
_EXAMPLE = (
    "\"chat_template\": \"{% for m in messages %}<|im_start|>{{ m['role'] }}\\n{{ m['content'] }}<|im_end|>\\n"
    '{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}"'
)


def check_tokenizer(folder: Path, tokenizer: Any, vocabulary: int, answers: Sequence[str]) -> None:
    """Raise UserError where a stage would break on the tokenizer. `vocabulary` is how many rows the embeddings have;
    `answers` are what the model is to learn to write."""
    _check_special(folder, tokenizer, "eos_token", "the token that ends an assistant's turn")
    _check_special(folder, tokenizer, "pad_token", "a token that no text holds; the end token will do")
    highest = max(tokenizer.get_vocab().items(), key=lambda entry: int(entry[1]))
    if highest[1] >= vocabulary:
        raise UserError(
            f"{folder / 'tokenizer.json'}: the token {highest[0]!r} has the id {highest[1]}, but vocab_size in "
            f"{folder / 'config.json'} is {vocabulary}, and so many rows have the embeddings. Enlarge them: "
            "model.resize_token_embeddings(len(tokenizer)), then save_pretrained."
        )
    if highest[1] >= len(tokenizer):
        raise UserError(
            f"{folder / 'tokenizer.json'}: its {len(tokenizer)} tokens have ids up to {highest[1]} ({highest[0]!r}). A "
            "student is made with a row for each token, so ids may leave no gap: add tokens for those between."
        )
    _check_template(folder, tokenizer)
    for text in (*_TEXTS, *answers):
        back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False), skip_special_tokens=True)
        if back != text:
            raise UserError(_lost(folder, text, str(back)))


def ids_of(value: Any) -> list[int]:
    """Return the end tokens of a config as a list: it gives one, several, or none."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _check_special(folder: Path, tokenizer: Any, key: str, what: str) -> None:
    path, token = folder / "tokenizer_config.json", getattr(tokenizer, key)
    known = [added.content for added in tokenizer.added_tokens_decoder.values() if added.special]
    example = tokenizer.eos_token or (known[-1] if known else "<|endoftext|>")
    if token is None:
        raise UserError(f'{path} has no {key}. It is {what}. Add, for example: "{key}": "{example}"')
    if tokenizer.encode(token, add_special_tokens=False) != [tokenizer.convert_tokens_to_ids(token)]:
        raise UserError(
            f"{path}: {key} is {token!r}, which {folder / 'tokenizer.json'} does not know as one token. Take one "
            f'of its special tokens, for example: "{key}": "{example if example != token else (known or [token])[0]}"'
        )


def _check_template(folder: Path, tokenizer: Any) -> None:
    path = folder / "tokenizer_config.json"
    beside = folder / "chat_template.jinja"
    place = beside if beside.is_file() else path
    if not tokenizer.chat_template:
        raise UserError(
            f"{path} has no chat_template and {beside.name} is not beside it, so nobody knows how a prompt begins and "
            "ends. Take that of the model's own instruct version, or add, with tokens that tokenizer.json knows: "
            f"{_EXAMPLE}"
        )
    user, answer = {"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}
    try:
        bare = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=False)
        prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([user, answer], tokenize=False)
    except Exception as error:  # Jinja's own errors, and those that a template raises itself
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(
            f"{place}: chat_template cannot render one user's turn and its answer ({words}). It must take messages "
            f"with the roles user and assistant, without a system's. For example: {_EXAMPLE}"
        ) from error
    if _USER not in prompt or _ANSWER not in whole:
        raise UserError(f"{place}: chat_template leaves out what the messages say. For example: {_EXAMPLE}")
    # A reasoning model's prompt may open the thinking, which templates take away from finished turns.
    opening = prompt.rstrip().removesuffix("<think>").rstrip()
    if not prompt.startswith(bare) or not whole.startswith(opening):
        raise UserError(
            f"{place}: with add_generation_prompt, chat_template renders {prompt[-60:]!r}, which is not how it begins "
            f"the whole conversation, {whole[:120]!r}: the model would be trained on another prompt than it is asked "
            f"with. For example: {_EXAMPLE}"
        )


def _lost(folder: Path, text: str, back: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
    tag = next((tag for tag in ("<think>", "</think>") if tag in text and tag not in back), "")
    remedy = (
        f'{tag!r} is a special token there, so it is dropped: set its "special": false'
        if tag
        else "set clean_up_tokenization_spaces to false in tokenizer_config.json, or use a byte-level tokenizer"
    )
    return (
        f"{folder / 'tokenizer.json'} does not give back what it was given: {text[max(0, at - 10) : at + 20]!r} became "
        f"{back[max(0, at - 10) : at + 20]!r}. Programs and answers must survive: {remedy}."
    )
