"""Check, before the first stage, what the stages ask of a checkpoint: its files, its values, its weights.

Each refusal names the file, the key and what to do. The tokenizer's part is in examine_tokenizer.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from reforge.config.policy import Architecture, Lora
from reforge.errors import UserError
from reforge.files.tensors import read_header
from reforge.policy.examine_tokenizer import check_tokenizer, ids_of
from reforge.policy.folder import check_checkpoint, load_tokenizer
from reforge.policy.lora import add_lora
from reforge.policy.model import TokenLogprobs, check_logits

FAMILIES: tuple[str, ...] = get_args(Architecture.model_fields["family"].annotation)
_FLOATS = ("F64", "F32", "BF16", "F16")
_PARTS = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
_NAMED = 3  # names shown of a long list


@dataclass(frozen=True)
class Needs:
    """The demands of later stages on the model. `answers` are those that it is to learn to write."""

    lora: Lora | None
    sequence_parallel: int
    tensor_parallel: int
    answers: Sequence[str]


def examine(folder: Path, needs: Needs) -> tuple[Any, Any]:
    """Return the model and its tokenizer. Raises UserError for what some stage would break on."""
    files = _read_files(folder)
    _check_values(folder, files["config.json"])
    _check_weight_files(folder)
    with _explained(folder / "config.json", "does not describe a model"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    _check_config(folder, config, needs)
    with _explained(folder / "tokenizer.json", "is not a tokenizer that transformers can read"):
        tokenizer = load_tokenizer(folder)
    check_tokenizer(folder, tokenizer, config.vocab_size, needs.answers)
    _check_end(folder, config, files.get("generation_config.json", {}), tokenizer)
    model = _load_whole(folder)
    _check_lora(model, needs.lora)
    _check_run(folder, model)
    return model, tokenizer


def context_of(folder: Path) -> tuple[int, str]:
    """Return how many tokens the sampler takes, and the file and key that say so: vLLM goes by the lesser of two."""
    own = int(json.loads((folder / "config.json").read_text())["max_position_embeddings"])
    other = json.loads((folder / "tokenizer_config.json").read_text()).get("model_max_length", own)
    if other < own:
        return int(other), f"model_max_length in {folder / 'tokenizer_config.json'}"
    return own, f"max_position_embeddings in {folder / 'config.json'}"


def _read_files(folder: Path) -> dict[str, dict[str, Any]]:
    check_checkpoint(folder)
    found = {}
    for path in (folder / name for name in _PARTS):
        if not path.is_file():
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is not valid JSON: {error}. Fetch it again.") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} is not a JSON object. Fetch it again.")
        if "auto_map" in values:
            raise UserError(
                f"{path}: auto_map names code that comes with the model, and such code is never run. Delete that key: "
                f"transformers' own implementation is used (of {', '.join(FAMILIES)})."
            )
        found[path.name] = values
    return found


def _check_values(folder: Path, values: Mapping[str, Any]) -> None:
    path, family = folder / "config.json", values.get("model_type")
    if family not in FAMILIES:
        raise UserError(
            f"{path}: model_type is {family!r}; only of {', '.join(FAMILIES)} is it known that learner and "
            "sampler agree. Give base.*.path a model of one of these families."
        )
    wanted = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family]]
    if values.get("architectures") != wanted:
        raise UserError(
            f"{path}: architectures is {values.get('architectures')!r}, and vLLM goes by it. For a model that writes "
            f'text it must be: "architectures": {json.dumps(wanted)}'
        )
    if "quantization_config" in values:
        raise UserError(
            f"{path}: quantization_config says that the weights are quantised, and those cannot be trained. Give "
            "base.*.path the model before it was quantised."
        )


def _check_weight_files(folder: Path) -> None:
    there = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        with _explained(index, "is no index of weights"):
            named = set(json.loads(index.read_text())["weight_map"].values())
        if lost := sorted(named - {path.name for path in there}):
            raise UserError(f"{index} names {_some(lost)}, which {folder} lacks. Fetch the missing files.")
    for path in there:
        with _explained(path, "is broken or cut short"):
            start, header = read_header(path)
            end = start + max((entry["data_offsets"][1] for entry in header.values()), default=0)
            if path.stat().st_size < end:
                raise ValueError(f"{path.stat().st_size} bytes of {end}")
        if odd := [name for name, entry in header.items() if entry["dtype"] not in _FLOATS]:
            raise UserError(
                f"{path}: {_some(odd)} of type {header[odd[0]]['dtype']} cannot be trained. Give base.*.path weights "
                f"of type {', '.join(_FLOATS)}."
            )


def _check_config(folder: Path, config: Any, needs: Needs) -> None:
    path = folder / "config.json"
    check_logits(config)
    if getattr(config, "attention_dropout", 0.0):
        raise UserError(f'{path}: attention_dropout is not supported. Write: "attention_dropout": 0.0')
    if {"full_attention"} != set(getattr(config, "layer_types", None) or ["full_attention"]):
        raise UserError(
            f"{path}: use_sliding_window and layer_types ask for attention in windows, which is not supported. A model "
            'that was trained without may say: "use_sliding_window": false'
        )
    heads, kv_heads, ranks = config.num_attention_heads, config.num_key_value_heads, needs.sequence_parallel
    if heads % ranks or (kv_heads % ranks and ranks % kv_heads):
        raise UserError(
            f"learner.sequence_parallel is {ranks}, but {path} has num_attention_heads {heads} and num_key_value_heads "
            f"{kv_heads}: they cannot be dealt evenly. Take a divisor of both."
        )
    if heads % needs.tensor_parallel:
        raise UserError(
            f"sampler.tensor_parallel is {needs.tensor_parallel}, which does not divide num_attention_heads "
            f"{heads} of {path}. Take a divisor."
        )


def _check_end(folder: Path, config: Any, generation: Mapping[str, Any], tokenizer: Any) -> None:
    """Raise UserError where a file names an end token that is not the tokenizer's: the sampler stops at that and at no
    other. The pad token must be in the vocabulary."""
    said = {"config.json": config.eos_token_id, "generation_config.json": generation.get("eos_token_id")}
    for name, value in said.items():
        if ids_of(value) and tokenizer.eos_token_id not in ids_of(value):
            raise UserError(
                f"{folder / name}: eos_token_id is {value}, but the eos_token of {folder / 'tokenizer_config.json'}, "
                f"{tokenizer.eos_token!r}, is {tokenizer.eos_token_id}. One of them is wrong: where the chat template "
                f'ends a turn with {tokenizer.eos_token!r}, write "eos_token_id": {tokenizer.eos_token_id}'
            )
    pad = config.pad_token_id
    if pad is not None and not 0 <= pad < config.vocab_size:
        raise UserError(
            f"{folder / 'config.json'}: pad_token_id is {pad}, outside of the vocabulary of {config.vocab_size}. "
            f'Write: "pad_token_id": {tokenizer.pad_token_id}'
        )


def _load_whole(folder: Path) -> Any:
    """Return the model. Raises UserError unless every weight of it came from the folder and is a finite number."""
    load: Any = AutoModelForCausalLM.from_pretrained
    with _explained(folder / "config.json", "and the weights beside it do not make a model"):
        options = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}
        model, report = load(folder, **options, output_loading_info=True, ignore_mismatched_sizes=True)
    path = folder / "config.json"
    if wrong := sorted(report["mismatched_keys"]):
        name, there, wanted = wrong[0]
        raise UserError(
            f"{folder}: {name} has the shape {list(there)} in the weights and {list(wanted)} by {path}. They belong to "
            "different models: fetch both again."
        )
    if missing := sorted(report["missing_keys"]):
        tied = ' Or, if input and output share their weights: "tie_word_embeddings": true in config.json.'
        raise UserError(
            f"{folder}: the weights lack {_some(missing)}, which {path} speaks of. Fetch the missing files."
            + tied * ("lm_head.weight" in missing)
        )
    if more := sorted(report["unexpected_keys"]):
        raise UserError(
            f"{folder}: the weights hold {_some(more)}, which a model by {path} has no place for: they would be lost. "
            "Fetch the config.json that belongs to them, or save the model again with transformers' save_pretrained."
        )
    _check_tied(folder, model)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{folder}: {name} holds what is no finite number. Fetch the weights again, or train anew.")
    return model


def _check_tied(folder: Path, model: Any) -> None:
    if not model.config.tie_word_embeddings:
        return
    head, embeddings = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if head is not embeddings and not torch.equal(head, embeddings):
        raise UserError(
            f"{folder / 'config.json'}: tie_word_embeddings is true, but the weights hold an lm_head.weight of their "
            'own that differs from the embeddings: learner and sampler would not agree. Write: "tie_word_embeddings": '
            "false"
        )


def _check_lora(model: Any, lora: Lora | None) -> None:
    if lora is None:
        return
    names = [name for name, _ in model.named_modules()]
    for target in lora.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            last = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if type(m) is torch.nn.Linear})
            raise UserError(f"learner.lora.targets: the model has no {target!r}; there are {', '.join(last)}.")
    make: Any = AutoModelForCausalLM
    with torch.device("meta"):
        add_lora(make.from_config(model.config), lora)


def _check_run(folder: Path, model: Any) -> None:
    """Check that the learner can run the model and save it: generation_config.json is judged only when it is saved."""
    ids = torch.arange(8) % model.config.vocab_size
    policy = TokenLogprobs(model)
    with _explained(folder / "config.json", "describes a model that the learner cannot run"), torch.no_grad():
        logprobs, _ = policy(ids, torch.arange(8), ((4, (4,)),), torch.arange(3, 7), ids[4:], 1.0)
    if not torch.isfinite(logprobs).all():
        raise UserError(f"{folder}: the model's log-probs are no finite numbers. Fetch the weights again.")
    if model.generation_config is not None:
        odd = "holds values that contradict each other, and a model with it cannot be saved"
        with _explained(folder / "generation_config.json", odd):
            model.generation_config.validate(strict=True)


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Turn what the libraries raise into a paragraph that begins with the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise UserError(f"{path} {what} ({words}). Correct it, or fetch it again.") from error


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")
