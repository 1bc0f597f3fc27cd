"""What is drawn from a model: answers to learn from, and answers to score it by."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from reforge.config.section import FromModel, FromProblems, Instance, Limit


class Sample(Instance):
    """Draw `answers` rollouts for each of `count` training `problems` and judge them."""

    makes = "rollouts"

    model: FromModel
    problems: FromProblems
    count: int = Field(ge=1)
    answers: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    temperature: float = Field(gt=0)

    def limits(self) -> list[Limit]:
        return [Limit("max_tokens", self.max_tokens)]


class Evaluate(Instance):
    """Score `model` on the first `count` of the held-out `problems`. `lengths` names each completion limit; all are cut
    from one draw at the longest. `side`: the held-out problems, or those for training, to measure the pass rates that
    curation can filter by.
    """

    model: FromModel
    problems: FromProblems
    side: Literal["heldout", "train"]
    count: int = Field(ge=1)
    lengths: dict[str, int] = Field(min_length=1)
    rollouts: int = Field(ge=1)
    ks: list[int]
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    confidence: float = Field(gt=0, lt=1)

    def limits(self) -> list[Limit]:
        return [Limit(f"lengths.{name}", length, self.side, self.count) for name, length in self.lengths.items()]

    @model_validator(mode="after")
    def _ks_fit(self) -> Evaluate:
        if self.ks and max(self.ks) > self.rollouts:
            raise ValueError(f"pass@{max(self.ks)} needs at least {max(self.ks)} rollouts, got {self.rollouts}")
        return self
