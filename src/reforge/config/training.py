"""The configuration of training: from worked answers, and from rewards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from reforge.config.sampling import PARTS, Acting
from reforge.config.section import NONE, FromModel, FromProblems, Instance, Limit, Section, Slot

Decay = Literal["none", "linear", "cosine"]  # how the learning rate falls after its warm-up, to its floor in the end


class Validation(Section):
    """A `share` of the answers, whole families of problems, is set aside. Every `every` steps the mean probability of
    their tokens is measured; after `patience` measurements in a row without a new best, the learning rate falls
    linearly to its floor over `cooling` more steps, and training ends (warmup-stable-decay: MiniCPM, Hu et al. 2024,
    arXiv 2404.06395)."""

    share: float = Field(gt=0, lt=1)
    every: int = Field(ge=1)
    patience: int = Field(ge=1)
    cooling: int = Field(ge=0)

    @model_validator(mode="after")
    def _its_end_is_measured(self) -> Validation:
        if self.cooling % self.every:
            raise ValueError(f"cooling={self.cooling}: a multiple of every={self.every}, so that its end is measured")
        return self


class Sft(Instance):
    """Supervised steps from the model `init` on answers: the worked ones of the training `problems`, and those of the
    sampled `rollouts` that solved their problem and ended by themselves. `steps` draws each batch from all rows;
    `epochs` passes over all rows that often, each pass shuffled anew. With `validation` they are the most that are
    made, and the model is the best one. `floor`: the share of the learning rate that it falls to.
    """

    makes = "model"

    init: FromModel
    problems: Annotated[str, Slot("problems", optional=True)]
    rollouts: Annotated[str, Slot("rollouts", optional=True)]
    steps: Annotated[int, Field(ge=1)] | None
    epochs: Annotated[int, Field(ge=1)] | None
    validation: Validation | None
    batch: int = Field(ge=1)
    learning_rate: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    decay: Decay
    floor: float = Field(ge=0, le=1)
    checkpoint_every: int = Field(ge=1)

    @model_validator(mode="after")
    def _ends(self) -> Sft:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("steps and epochs: one of them is a number, the other null")
        return self

    @model_validator(mode="after")
    def _learns_from_something(self) -> Sft:
        if self.problems == self.rollouts == NONE:
            raise ValueError("problems and rollouts are both none: there is nothing to learn from")
        if self.validation and self.problems == NONE:
            raise ValueError("validation: whole families are set aside, and only problems (here none) know theirs")
        return self


class Kl(Section):
    """A penalty on the distance to the rung's first policy, which is loaded a second time for it, or to the policy that
    there was at the last multiple of `refresh` steps (DeepSeek-R1: 400). `weighted`: the penalty is weighted by the
    ratio, with its gradient, which makes any estimator unbiased (DeepSeek-V3.2, TRL#4638)."""

    estimator: Literal["k1", "k2", "k3"]
    coefficient: float = Field(gt=0)
    weighted: bool
    refresh: Annotated[int, Field(ge=1)] | None = None


class Correction(Section):
    """A correction, by importance weights, of the gap between the sampler's policy and the learner's before the update.
    `above`: a weight above `limit` is clamped to it, or masked (0)."""

    level: Literal["token", "sequence"]
    above: Literal["clamp", "mask"]
    limit: float = Field(ge=1)


class Loss(Section):
    """The objective (losses.py). `mean`: the loss is averaged over all tokens of the update, over its rollouts, or over
    its rollouts with `constant_length` in place of each length. `ratio`: the ratio of new to old probability is that of
    each token, or of the whole rollout (GSPO)."""

    mean: Literal["token", "sequence", "constant"]
    constant_length: Annotated[int, Field(ge=1)] | None
    ratio: Literal["token", "sequence"]
    clip_low: float = Field(gt=0)  # from 1 on nothing is clipped there: no ratio is negative
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
    """The treatment of a truncated rollout. `keep`: its reward counts. `filter`: it leaves the group's statistics, the
    loss and the counts. `silence`: its advantage is 0 if its reward is, and it counts (DeepCoder's release). `punish`:
    the last `buffer` tokens before the limit cost up to 1 (DAPO)."""

    rule: Literal["keep", "filter", "silence", "punish"]
    buffer: Annotated[int, Field(ge=1)] | None

    @model_validator(mode="after")
    def _buffer_is_used(self) -> Overlong:
        if (self.rule == "punish") != (self.buffer is not None):
            raise ValueError("buffer: is given with rule: punish, and only then")
        return self


class Guards(Section):
    """The bounds that a step must keep; one that does not stops the run, or its update is skipped and counted.
    `truncated`: the greatest share of rollouts that hit the limit. `ratio`: the greatest ratio, as in `Loss.ratio`, of
    a probability to that before the step, so it acts from the step's second update on. `gap`: the greatest mean gap in
    nats per token (`gap/k3`) between the sampler's log-probs and the learner's; beyond it the sampler reports log-probs
    of a policy that it does not draw from, which no skipping mends, so it always stops the run. Loss and gradient must
    always be finite."""

    truncated: float = Field(gt=0, le=1)
    ratio: float = Field(gt=1)
    gap: float = Field(gt=0)
    bad_update: Literal["stop", "skip"]
    nothing_to_learn: Literal["stop", "skip"]


class Returns(Section):
    """The return of a turn is its reward plus that of each later turn of its attempt, `discount` times as much for each
    turn between (Kevin-32B, section 4). `over`: turns are compared with all turns of the group, or attempts with
    attempts by what they earned from their first turn on.
    """

    discount: float = Field(ge=0, le=1)
    over: Literal["turns", "attempts"]


class Rl(Acting):
    """GRPO+ (DeepCoder) from the model `init` on the training `problems`, with completions of at most `max_tokens`: one
    context rung. `reward`: parts and their weights. `batch` prompts × `group_size` rollouts a step, split into
    `updates` optimiser steps. `order`: each pass over the problems is shuffled, or always in the order of curation.
    `staleness`: by how many steps the policy that draws a batch is older than the newest one: 0 is synchronous, 1
    one-off pipelining."""

    makes = "model"

    init: FromModel
    problems: FromProblems
    steps: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    reward: dict[str, float] = Field(min_length=1)
    returns: Returns
    batch: int = Field(ge=1)
    group_size: int = Field(ge=2)
    updates: int = Field(ge=1)
    staleness: int = Field(ge=0)
    learning_rate: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    decay: Decay
    floor: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    advantage: Literal["normalised", "centred", "leave_one_out"]
    overlong: Overlong
    loss: Loss
    guards: Guards
    max_prompt_tokens: int = Field(ge=1)
    reward_tests: int = Field(ge=1)
    order: Literal["shuffled", "as_curated"]
    checkpoint_every: int = Field(ge=1)

    def completion_limits(self) -> list[Limit]:
        return [Limit("max_tokens", self.max_tokens, prompt=self.max_prompt_tokens)]

    def own_names(self) -> dict[str, str]:
        return {**super().own_names(), **{f"reward.{name}": name for name in self.reward if name not in PARTS}}

    @model_validator(mode="after")
    def _later_turns_are_paid(self) -> Rl:
        if self.environment.turns > 1 and self.returns.over == "attempts" and self.returns.discount == 0:
            raise ValueError("returns.over: attempts needs a discount above 0, or nothing is learned from later turns")
        return self

    @model_validator(mode="after")
    def _parts_are_known(self) -> Rl:
        for name in self.reward if self.own is None else ():
            if name not in PARTS:
                raise ValueError(
                    f"reward.{name}: there are the parts {', '.join(PARTS)}; one of yours is a function of that name "
                    "in a file: own={path: FILE}"
                )
        return self

    @model_validator(mode="after")
    def _updates_divide(self) -> Rl:
        if self.batch % self.updates:
            raise ValueError(f"updates ({self.updates}) must divide batch ({self.batch} prompts)")
        if self.overlong.buffer and self.overlong.buffer > self.max_tokens:
            raise ValueError(f"overlong.buffer ({self.overlong.buffer}) is longer than max_tokens ({self.max_tokens})")
        return self
