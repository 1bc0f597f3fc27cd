"""The policy network: made from a config or read from a local folder, written as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from reforge.config import Architecture
from reforge.errors import UserError


def new_model(architecture: Architecture, tokenizer: PreTrainedTokenizerBase, seed: int) -> Any:
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.heads,
        max_position_embeddings=architecture.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype=torch.float32,
    )
    torch.manual_seed(seed)
    make: Any = Qwen2ForCausalLM
    return make(config)


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Raises UserError where the folder is no checkpoint: it needs config.json and safetensors weights."""
    check_checkpoint(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True)


def load_tokenizer(folder: Path) -> Any:
    """tokenizer.json exactly as it is written. AutoTokenizer would put the model family's own pre-tokenizer in its
    place (transformers 5, model_type qwen2), and every text would silently get other token ids."""
    check_checkpoint(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def check_checkpoint(folder: Path) -> None:
    wanted = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if not list(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise UserError(
            f"{folder} is not a model checkpoint: {', '.join(missing)} not found there. "
            "model.path must name a local folder written by transformers' save_pretrained with safetensors weights."
        )
    try:
        json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is not valid JSON: {error}") from error


class TokenLogprobs(nn.Module):
    """Log-probs of the tokens under the loss mask only, so the full logits are never held (N ≪ B·T rows of V)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (logprobs_N, entropy_N), N the ones of `mask_BT` in row-major order; entropy carries no gradient.

        Rows are right-padded: under causal attention no real token sees a pad, so neither a padding mask nor other
        positions are needed. `mask_BT[:, 0]` must be 0 (nothing predicts the first token). `temperature` divides the
        logits as in the sampler, or the ratio would be off from the first token (TRL#4159).
        """
        hidden_BTH = self.model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
        chosen = mask_BT[:, 1:].bool()
        logits_NV = self.model.lm_head(hidden_BTH[:, :-1][chosen]).float() / temperature
        logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
        logprobs_N = logprobs_NV.gather(-1, ids_BT[:, 1:][chosen].unsqueeze(-1)).squeeze(-1)
        with torch.no_grad():
            entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
        return logprobs_N, entropy_N
