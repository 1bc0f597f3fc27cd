"""The policy network: made from a config or read from a local folder, written as safetensors."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.functional import pad
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from reforge.config.policy import Architecture
from reforge.errors import UserError
from reforge.policy.batches import Inputs, Tree
from reforge.policy.folder import check_checkpoint
from reforge.policy.head import LogprobHead
from reforge.policy.packed import PACKED
from reforge.policy.rewrite import rewrite
from reforge.policy.ulysses import gather


def new_model(architecture: Architecture, tokenizer: PreTrainedTokenizerBase, seed: int) -> Any:
    """Return a model with random weights. Raises UserError for what the family's config does not know."""
    config = AutoConfig.for_model(
        architecture.family,
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads,
        max_position_embeddings=architecture.context,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype=torch.float32,
        **_known(architecture),
    )
    torch.manual_seed(seed)
    make: Any = AutoModelForCausalLM
    return make.from_config(config)


_OURS = {
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "pad_token_id", "eos_token_id", "bos_token_id", "dtype", "model_type",
}  # fmt: skip


def _known(architecture: Architecture) -> dict[str, Any]:
    known = AutoConfig.for_model(architecture.family).to_dict()
    for key in architecture.extra:
        if key in _OURS:
            raise UserError(f"extra: {key!r} follows from the other values of the architecture")
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            advice = f", did you mean {near[0]!r}?" if near else "."
            raise UserError(f"extra: {architecture.family} has no value {key!r}{advice}")
    return dict(architecture.extra)


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Return the model in `folder`. Raises UserError where that is no checkpoint: it needs config.json and safetensors
    weights."""
    check_checkpoint(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True)


def save_model(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    state: dict[str, torch.Tensor] | None = None,
    worn: Path | None = None,
) -> None:
    """Write the model and its tokenizer to `folder`. `state` is written in place of the model's own state, of which a
    rank may hold only parts. `worn` is an older save of the model that nobody needs any more: where its files can be
    filled anew, it becomes `folder`."""
    if worn is not None and rewrite(worn, state or model.state_dict()):
        worn.rename(folder)
        return
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)


_ON_LOGITS = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier", "final_logit_softcapping")


def check_logits(config: Any) -> None:
    """Raise UserError where the model does more to its logits than its output layer."""
    for key in _ON_LOGITS:
        if getattr(config, key, None) not in (None, 1.0):
            raise UserError(f"{config.model_type} models with {key} are not supported: log-probs would be wrong.")


class TokenLogprobs(nn.Module):
    """The policy network, which gives log-probs of the trained tokens of packed trees: no padding, and no logits of any
    other token."""

    def __init__(self, model: Any, sequence_group: Any = None) -> None:
        """`model` is one of transformers' decoders with a linear head; it is set to packed attention. The ranks of
        `sequence_group` share each micro-batch."""
        super().__init__()
        check_logits(model.config)
        model.set_attn_implementation(PACKED)
        self.model = model
        self.head = LogprobHead(model.get_output_embeddings())
        self._group = sequence_group

    def forward(
        self,
        ids_T: torch.Tensor,
        positions_T: torch.Tensor,
        trees: tuple[Tree, ...],
        states_N: torch.Tensor,
        targets_N: torch.Tensor,
        temperature: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (logprobs_N, entropy_N) of the tokens `targets_N`; see MicroBatch for the rest. `temperature` divides
        the logits as in the sampler, or the ratio would be off from the first token (TRL#4159)."""
        if self._group is not None:
            return self._shared((ids_T, positions_T, trees, states_N, targets_N), temperature)
        hidden_TH = self._decode(ids_T, positions_T, trees)
        logprobs_N, entropy_N = self.head(hidden_TH[states_N], targets_N, temperature)
        return logprobs_N, entropy_N

    def _shared(self, inputs: Inputs, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `forward` does. This rank runs the network on its slice of the tokens, which are padded so that
        all slices are equal."""
        ids_T, positions_T, trees, states_N, targets_N = inputs
        ranks, rank = distributed.get_world_size(self._group), distributed.get_rank(self._group)
        if missing := -len(ids_T) % ranks:
            ids_T, positions_T = pad(ids_T, (0, missing)), pad(positions_T, (0, missing))
            trees = (*trees, (0, (missing,)))
        size = len(ids_T) // ranks
        own = slice(rank * size, (rank + 1) * size)
        hidden_TH = self._decode(ids_T[own], positions_T[own], trees)
        holder_N = states_N // size
        mine_N = holder_N == rank
        logprobs_n, entropy_n = self.head(hidden_TH[states_N[mine_N] - own.start], targets_N[mine_N], temperature)
        return gather(logprobs_n, holder_N, self._group), gather(entropy_n, holder_N, self._group)

    def _decode(self, ids_T: torch.Tensor, positions_T: torch.Tensor, trees: tuple[Tree, ...]) -> torch.Tensor:
        decoded = self.model.get_decoder()(
            input_ids=ids_T[None],
            position_ids=positions_T[None],
            use_cache=False,
            trees=trees,
            sequence_group=self._group,
        )
        hidden_TH: torch.Tensor = decoded.last_hidden_state[0]
        return hidden_TH
