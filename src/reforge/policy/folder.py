"""A model's folder: whether it is a checkpoint, and its tokenizer. Without torch, for those who only read text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from reforge.errors import UserError

_PICKLE = (
    " Its *.bin files are pickles, which are never read: make safetensors of them where you trust them, with "
    "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)."
)


def check_checkpoint(folder: Path) -> None:
    wanted = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if not list(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise UserError(
            f"{folder} is not a model checkpoint: {', '.join(missing)} not found there. "
            "base.*.path must name a local folder written by transformers' save_pretrained with safetensors weights."
            + (_PICKLE if list(folder.glob("*.bin")) else "")
        )
    try:
        json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is not valid JSON: {error}") from error


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer exactly as tokenizer.json has it. AutoTokenizer would put the model family's own
    pre-tokenizer in its place (transformers 5, model_type qwen2), and every text would silently get different token
    ids."""
    check_checkpoint(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
