"""params.yaml → frozen Config. Every check of a value lives here; a misspelt key fails, naming the nearest."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reforge.errors import UserError


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProblemSource(Section):
    """A published set: a local file, or a `datasets` name. `sha256` pins a file; `reforge compose` fills it."""

    adapter: Literal[
        "generated", "mbpp", "humaneval", "leetcode", "taco", "apps", "synthetic1", "code_contests", "codeforces",
        "livecodebench",
    ]  # fmt: skip
    path: str
    revision: str
    sha256: str


class Near(Section):
    """From which Jaccard similarity on two problems are one, by the words of their statements or by their tests."""

    statement: float = Field(gt=0, le=1)
    tests: float = Field(gt=0, le=1)


class Problems(ProblemSource):
    """Where problems come from and which are kept. `near` null: nothing is compared. `against`: evaluation sets that no
    problem may come from.
    """

    near: Near | None
    against: list[ProblemSource]
    difficulties: list[int]
    tests_per_problem: int = Field(ge=1)
    train: int = Field(ge=1)
    heldout: int = Field(ge=1)


class Sandbox(Section):
    cpu_seconds: float = Field(gt=0)
    wall_seconds: float = Field(gt=0)
    memory_mb: int = Field(ge=64)
    output_kb: int = Field(ge=1)
    budget_seconds: float = Field(gt=0)
    minimum_isolation: Literal["limits", "syscalls", "files", "full"]
    packages: list[str]
    urls: list[str]
    workers: int = Field(ge=1)


class Architecture(Section):
    """A Qwen2 decoder (the family of DeepCoder's base), with tied embeddings."""

    hidden_size: int = Field(ge=32)
    intermediate_size: int = Field(ge=32)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    context: int = Field(ge=64)

    @model_validator(mode="after")
    def _heads_divide(self) -> Architecture:
        if self.hidden_size % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden_size ({self.hidden_size})")
        return self


class Model(Section):
    """`path` names a local checkpoint folder to start from; empty: train a tokenizer and initialise `architecture`."""

    path: str
    vocab_size: int = Field(ge=300)
    architecture: Architecture


class Learner(Section):
    zero_stage: Literal[0, 1, 2, 3]
    offload: bool
    activation_checkpointing: bool
    dtype: Literal["float32", "bfloat16"]
    threads: int = Field(ge=0)
    micro_batch_tokens: int = Field(ge=64)
    gradient_clip: float = Field(gt=0)
    weight_decay: float = Field(ge=0)


class Sampler(Section):
    """vLLM over HTTP. `urls` empty: a server is started and supervised here."""

    urls: list[str]
    dtype: Literal["float32", "bfloat16"]
    threads: int = Field(ge=0)
    tensor_parallel: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    gpu_memory_utilization: float = Field(gt=0, le=1)
    max_sequences: int = Field(ge=1)
    enforce_eager: bool
    startup_seconds: float = Field(gt=0)
    parity_tolerance: float = Field(gt=0)


class Sft(Section):
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    checkpoint_every: int = Field(ge=1)


class Rung(Section):
    """One context rung: continue from the model of stage `init` with completions of at most `max_tokens`."""

    init: str
    steps: int = Field(ge=1)
    max_tokens: int = Field(ge=8)


class Rl(Section):
    """GRPO+ (DeepCoder). `batch` prompts × `group_size` rollouts a step, split into `updates` optimiser steps."""

    batch: int = Field(ge=1)
    group_size: int = Field(ge=2)
    updates: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    temperature: float = Field(gt=0)
    clip_low: float = Field(gt=0, lt=1)
    clip_high: float = Field(gt=0)
    overlong_filter: bool
    max_prompt_tokens: int = Field(ge=1)
    max_truncated: float = Field(gt=0, le=1)
    reward_tests: int = Field(ge=1)
    checkpoint_every: int = Field(ge=1)
    rungs: dict[str, Rung]

    @model_validator(mode="after")
    def _updates_divide(self) -> Rl:
        if self.batch % self.updates:
            raise ValueError(f"updates ({self.updates}) must divide batch ({self.batch} prompts)")
        return self


class Distill(Section):
    teacher: str
    problems: int = Field(ge=1)
    answers: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    temperature: float = Field(gt=0)
    student: Architecture
    sft: Sft


class Evaluate(Section):
    """`lengths` names each completion limit; all are cut from one draw at the longest."""

    models: dict[str, str]
    lengths: dict[str, int]
    problems: int = Field(ge=1)
    rollouts: int = Field(ge=1)
    ks: list[int]
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    confidence: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _ks_fit(self) -> Evaluate:
        if self.ks and max(self.ks) > self.rollouts:
            raise ValueError(f"pass@{max(self.ks)} needs at least {max(self.ks)} rollouts, got {self.rollouts}")
        return self


class Tracking(Section):
    mlflow_uri: str
    mlflow_experiment: str
    wandb: bool


class Config(Section):
    experiment: str
    seed: int = Field(ge=0)
    problems: Problems
    sandbox: Sandbox
    model: Model
    learner: Learner
    sampler: Sampler
    sft: Sft
    rl: Rl
    distill: Distill
    evaluate: Evaluate
    tracking: Tracking

    @model_validator(mode="after")
    def _models_exist(self) -> Config:
        models = ["base", "sft", *(f"rl/{rung}" for rung in self.rl.rungs), "distill"]
        wanted = {f"rl.rungs.{name}.init": rung.init for name, rung in self.rl.rungs.items()}
        wanted |= {f"evaluate.models.{name}": model for name, model in self.evaluate.models.items()}
        wanted["distill.teacher"] = self.distill.teacher
        for key, model in wanted.items():
            if model not in models:
                raise ValueError(f"{key}: no stage makes a model {model!r}; there are {', '.join(models)}")
        return self

    @model_validator(mode="after")
    def _fits_context(self) -> Config:
        longest = max(self.evaluate.lengths.values())
        if longest >= self.model.architecture.context and not self.model.path:
            raise ValueError(
                f"evaluate.lengths reaches {longest} tokens but model.architecture.context is "
                f"{self.model.architecture.context}: the prompt would not fit"
            )
        return self


# Keys whose entries an experiment names freely, in dotted form.
TABLES = ("rl.rungs", "evaluate.models", "evaluate.lengths")


def load_config(path: Path) -> Config:
    """Read a resolved params file. Raises UserError naming the file, the key and the nearest valid key."""
    if not path.is_file():
        raise UserError(f"{path} not found. Write it with: reforge compose experiment=tiny")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    return build_config(values, str(path))


def build_config(values: Any, where: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
        raise UserError(f"{where}: " + "; ".join(lines)) from error


def unknown_key(dotted: str) -> str:
    """Empty if `dotted` names a key of Config; else what is wrong with it and the nearest key that there is."""
    section: Any = Config
    parts = dotted.split(".")
    for depth, part in enumerate(parts):
        fields = getattr(section, "model_fields", None)
        if fields is not None and part in fields:
            section = fields[part].annotation
        elif get_origin(section) is dict:  # any key leads to the value type
            section = get_args(section)[1]
        else:
            return f"unknown key {dotted!r}" + _nearest(parts[:depth], list(fields or ()), dotted)
    return ""


def _nearest(parents: list[str], siblings: list[str], dotted: str) -> str:
    """A close sibling; else a key of the same name in another section; else the nearest sibling, however far."""
    wrong = dotted.split(".")[len(parents)]
    close = [".".join([*parents, key]) for key in difflib.get_close_matches(wrong, siblings, n=1, cutoff=0.7)]
    elsewhere = [key for key in _all_keys(Config) if key.rsplit(".", 1)[-1] == wrong]
    farther = [".".join([*parents, key]) for key in difflib.get_close_matches(wrong, siblings, n=1, cutoff=0.0)]
    found = close or elsewhere or farther
    return f", did you mean {' or '.join(map(repr, found))}?" if found else ""


def _all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _all_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _explain(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return unknown_key(key)
    if item["type"] == "missing":
        return f"missing key {key!r}"
    got = "" if isinstance(item["input"], dict) else f" (got {item['input']!r})"
    return f"{key}: {item['msg'].removeprefix('Value error, ')}{got}".removeprefix(": ")
