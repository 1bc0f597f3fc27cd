"""How the policy learns: from worked answers, and from rewards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from reforge.config.section import NONE, FromModel, FromProblems, Instance, Limit, Section, Slot

Decay = Literal["none", "linear", "cosine"]  # of the learning rate after its warm-up, to 0 at the last step


class Sft(Instance):
    """Supervised steps from the model `init` on answers: the worked ones of the training `problems`, and those of the
    sampled `rollouts` that solved their problem and ended by themselves.
    """

    makes = "model"

    init: FromModel
    problems: Annotated[str, Slot("problems", optional=True)]
    rollouts: Annotated[str, Slot("rollouts", optional=True)]
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    decay: Decay
    checkpoint_every: int = Field(ge=1)

    @model_validator(mode="after")
    def _learns_from_something(self) -> Sft:
        if self.problems == self.rollouts == NONE:
            raise ValueError("problems and rollouts are both none: there is nothing to learn from")
        return self


class Kl(Section):
    """A penalty of the distance to the rung's first policy, which is loaded a second time for it. `weighted`: by the
    ratio, with its gradient, which makes any estimator unbiased (DeepSeek-V3.2, TRL#4638).
    """

    estimator: Literal["k1", "k2", "k3"]
    coefficient: float = Field(gt=0)
    weighted: bool


class Correction(Section):
    """Of the gap between the sampler's policy and the learner's before the update, by importance weights."""

    level: Literal["token", "sequence"]
    above: Literal["clamp", "mask"]
    limit: float = Field(ge=1)


class Loss(Section):
    """What is optimised (losses.py). `mean`: over all tokens of the update, over its rollouts, or over its rollouts
    with `constant_length` in place of each length. `ratio`: of each token, or of the whole rollout (GSPO).
    """

    mean: Literal["token", "sequence", "constant"]
    constant_length: Annotated[int, Field(ge=1)] | None
    ratio: Literal["token", "sequence"]
    clip_low: float = Field(gt=0, lt=1)
    clip_high: float = Field(gt=0)
    dual_clip: Annotated[float, Field(gt=1)] | None
    correction: Correction | None
    kl: Kl | None
    entropy: float = Field(ge=0)

    @model_validator(mode="after")
    def _constant_is_used(self) -> Loss:
        if (self.mean == "constant") != (self.constant_length is not None):
            raise ValueError("constant_length: is given with mean: constant, and only then")
        return self


class Overlong(Section):
    """What becomes of a truncated rollout. `keep`: its reward counts. `filter`: it leaves the group's statistics, the
    loss and the counts. `silence`: its advantage is 0 if its reward is, and it counts (DeepCoder's release).
    `punish`: the last `buffer` tokens before the limit cost up to 1 (DAPO).
    """

    rule: Literal["keep", "filter", "silence", "punish"]
    buffer: Annotated[int, Field(ge=1)] | None

    @model_validator(mode="after")
    def _buffer_is_used(self) -> Overlong:
        if (self.rule == "punish") != (self.buffer is not None):
            raise ValueError("buffer: is given with rule: punish, and only then")
        return self


class Guards(Section):
    """What a step may not do; one that does stops the run, or is skipped and counted. `truncated`: share of rollouts
    that hit the limit. `ratio`: of a token's probability to that before the step, so from its second update on. `gap`:
    mean nats per token (`gap/k3`) between the sampler's log-probs and the learner's; beyond it the sampler says what it
    does not draw from, which no skipping mends, so it always stops the run. Loss and gradient must always be finite.
    """

    truncated: float = Field(gt=0, le=1)
    ratio: float = Field(gt=1)
    gap: float = Field(gt=0)
    bad_update: Literal["stop", "skip"]
    nothing_to_learn: Literal["stop", "skip"]


class Rl(Instance):
    """GRPO+ (DeepCoder) from the model `init` on the training `problems`, with completions of at most `max_tokens`: one
    context rung. `batch` prompts × `group_size` rollouts a step, split into `updates` optimiser steps. `order`:
    each pass over the problems shuffled, or always as curation has put them. `staleness`: how many steps before a
    batch's own its policy is from: 0 is synchronous, 1 one-off pipelining.
    """

    makes = "model"

    init: FromModel
    problems: FromProblems
    steps: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    batch: int = Field(ge=1)
    group_size: int = Field(ge=2)
    updates: int = Field(ge=1)
    staleness: int = Field(ge=0)
    learning_rate: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    decay: Decay
    temperature: float = Field(gt=0)
    advantage: Literal["normalised", "centred", "leave_one_out"]
    overlong: Overlong
    loss: Loss
    guards: Guards
    max_prompt_tokens: int = Field(ge=1)
    reward_tests: int = Field(ge=1)
    order: Literal["shuffled", "as_curated"]
    checkpoint_every: int = Field(ge=1)

    def limits(self) -> list[Limit]:
        return [Limit("max_tokens", self.max_tokens, prompt=self.max_prompt_tokens)]

    @model_validator(mode="after")
    def _updates_divide(self) -> Rl:
        if self.batch % self.updates:
            raise ValueError(f"updates ({self.updates}) must divide batch ({self.batch} prompts)")
        if self.overlong.buffer and self.overlong.buffer > self.max_tokens:
            raise ValueError(f"overlong.buffer ({self.overlong.buffer}) is longer than max_tokens ({self.max_tokens})")
        return self
