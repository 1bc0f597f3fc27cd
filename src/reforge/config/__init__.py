"""The whole configuration. Every check of a value lives here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from reforge.config.policy import Architecture, LearnerConfig, Model, SamplerConfig
from reforge.config.problems import Problems
from reforge.config.section import Section
from reforge.config.training import Rl, Sft

Determinism = Literal["fast", "strict"]  # reforge.frame.determinism


class Sandbox(Section):
    """`cpu_seconds` is the limit of each test, null `budget_seconds`: none of all of them together."""

    cpu_seconds: float = Field(gt=0)
    wall_seconds: float = Field(gt=0)
    memory_mb: int = Field(ge=64)
    output_kb: int = Field(ge=1)
    budget_seconds: Annotated[float, Field(gt=0)] | None
    exposed: Literal["refuse", "accept"]
    minimum_isolation: Literal["limits", "syscalls", "files", "full"]
    packages: list[str]
    urls: list[str]
    workers: int = Field(ge=1)


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
    determinism: Determinism
    problems: Problems
    sandbox: Sandbox
    model: Model
    learner: LearnerConfig
    sampler: SamplerConfig
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
        """Whatever is sampled; a model from `path` says itself what it holds."""
        wanted = {f"evaluate.lengths.{name}": length for name, length in self.evaluate.lengths.items()}
        wanted |= {f"rl.rungs.{name}.max_tokens": rung.max_tokens for name, rung in self.rl.rungs.items()}
        wanted["distill.max_tokens"] = self.distill.max_tokens
        context = self.model.architecture.context
        for key, length in wanted.items():
            if length >= context and not self.model.path:
                raise ValueError(f"{key} is {length} but model.architecture.context is {context}: no prompt would fit")
        return self

    @model_validator(mode="after")
    def _lora_has_a_base(self) -> Config:
        if self.learner.lora is not None and not self.model.path:
            raise ValueError("learner.lora: adds to a trained model, so it needs model.path")
        return self
