"""The whole configuration. Every check of a value lives here."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Day = Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProblemSource(Section):
    """A published set: a local file, or a `datasets` name with its revision. Empty text: not given.

    `sha256` pins a file; `reforge compose` fills it. `licence` goes into the data card. Of a source with `after` or
    `before` (YYYY-MM-DD) only problems that came out from that day on, or before that day, are read. `unverified`: its
    problems are kept even where they come without a reference.
    """

    adapter: Literal[
        "generated", "reforge", "mbpp", "humaneval", "leetcode", "taco", "apps", "synthetic1", "code_contests",
        "codeforces", "livecodebench", "gsm8k", "math", "aime",
    ]  # fmt: skip
    path: str = ""
    revision: str = ""
    sha256: str = ""
    licence: str = ""
    after: Day = ""
    before: Day = ""
    unverified: bool = False

    @model_validator(mode="after")
    def _days_exist(self) -> ProblemSource:
        days = [date.fromisoformat(day) for day in (self.after, self.before) if day]
        if len(days) == 2 and days[0] >= days[1]:
            raise ValueError(f"no day is from {self.after} on and before {self.before}")
        return self


class Verification(Section):
    """`references`: published programs of a problem that are run, at least (if none passes, the others follow); where
    one passes and another answers differently, the problem has several answers. `runs`: of the accepted one; a
    problem whose reference passes some of them is flaky.
    """

    references: int = Field(ge=1)
    runs: int = Field(ge=1)
    several_answers: Literal["keep", "drop"]


class Near(Section):
    """From which Jaccard similarity on two problems are one, by the words of their statements or by their tests."""

    statement: float = Field(gt=0, le=1)
    tests: float = Field(gt=0, le=1)


class PassRates(Section):
    """Keep problems that a policy solves in more than `above` and less than `below` of its rollouts. `path`: the
    rollouts.parquet of `reforge stage evaluate@…`, at the completion limit `length`; `sha256` as for sources.
    """

    path: str
    sha256: str = ""
    length: str
    above: float = Field(ge=0, lt=1)
    below: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _something_fits(self) -> PassRates:
        if self.above >= self.below:
            raise ValueError(f"no rate is above {self.above} and below {self.below}")
        return self


class Problems(Section):
    """Where problems come from and which are kept, in the order of the steps. No `languages`: any. Null `near`: nothing
    is compared; null `pass_rates`: nothing is filtered by them. `against`: evaluation sets no problem may come from.
    Null `train`: all that are not held out.
    """

    sources: dict[str, ProblemSource] = Field(min_length=1)
    difficulties: list[int]
    languages: list[str]
    statement_characters: list[int] = Field(min_length=2, max_length=2)
    tests_per_problem: int = Field(ge=1)
    verify: Verification
    near: Near | None
    against: dict[str, ProblemSource]
    pass_rates: PassRates | None
    heldout_by: Literal["family", "date"]
    order: Literal["mixed", "easiest_first"]
    train: Annotated[int, Field(ge=1)] | None
    heldout: int = Field(ge=1)

    def files(self) -> dict[str, ProblemSource | PassRates]:
        """All that names a file or a data set, by its key."""
        found: dict[str, ProblemSource | PassRates] = {}
        for table, sources in (("sources", self.sources), ("against", self.against)):
            found |= {f"{table}.{name}": source for name, source in sources.items() if source.adapter != "generated"}
        return found | ({"pass_rates": self.pass_rates} if self.pass_rates else {})

    @model_validator(mode="after")
    def _can_be_met(self) -> Problems:
        for name, source in self.against.items():
            if source.adapter == "generated":
                raise ValueError(f"against.{name}: generated problems are no evaluation set")
        if self.against and self.near is None:
            raise ValueError("against: with near null nothing is compared, not even with evaluation sets")
        if self.statement_characters[0] > self.statement_characters[1]:
            raise ValueError(f"statement_characters: {self.statement_characters} is not [least, most]")
        for name in (*self.sources, *self.against):
            if not re.fullmatch(r"[\w-]+", name):
                raise ValueError(f"{name!r} is no name for a source: letters, digits, dashes and underscores are")
        if self.train is None and any(source.adapter == "generated" for source in self.sources.values()):
            raise ValueError("train: how many problems to generate must be a number, not null")
        return self


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
    """GRPO+ (DeepCoder). `batch` prompts × `group_size` rollouts a step, split into `updates` optimiser steps. `order`:
    each pass over the problems shuffled, or always as curation has put them.
    """

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
    order: Literal["shuffled", "as_curated"]
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
    """`lengths` names each completion limit; all are cut from one draw at the longest. `side`: the held-out problems,
    or those for training, to measure the pass rates that curation can filter by.
    """

    models: dict[str, str]
    side: Literal["heldout", "train"]
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
