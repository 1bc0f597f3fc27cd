"""The kinds of stages that sample from a model: to learn from its answers, or to score it by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from reforge.config.section import FromModel, FromProblems, Instance, Limit, Section


class OwnFile(Section):
    """A Python file of the user's: functions that are parts of a reward, a class `Environment`. `sha256` pins it;
    `reforge compose` fills it.
    """

    path: str
    sha256: str = ""


class Environment(Section):
    """The environment that asks the policy and grades it. `code`: one question, one answer. `repair`: what does not
    pass is asked for again with what the sandbox said of it, in at most `turns` turns. `own`: the class `Environment`
    of the file that `own` names.
    """

    kind: Literal["code", "repair", "own"]
    turns: int = Field(ge=1)

    @model_validator(mode="after")
    def _one_turn(self) -> Environment:
        if self.kind == "code" and self.turns > 1:
            raise ValueError("turns: kind code is one question and one answer; several turns: kind=repair")
        return self


PARTS = ("accuracy", "format")  # parts of a reward that need no file (reforge.environments.rewards)


class Acting(Instance):
    """The keys that are shared by all kinds of stages which let a policy act in an environment."""

    environment: Environment
    own: OwnFile | None

    def files(self) -> Mapping[str, OwnFile]:
        return {"own": self.own} if self.own else {}

    def own_names(self) -> dict[str, str]:
        """Return what the file `own` must define, by the key that asks for it."""
        return {"environment.kind": "Environment"} if self.environment.kind == "own" else {}

    @model_validator(mode="after")
    def _own_is_given(self) -> Acting:
        if self.environment.kind == "own" and self.own is None:
            raise ValueError("environment.kind: own needs a file with a class Environment: own={path: FILE}")
        return self


class Sample(Acting):
    """Draw `answers` rollouts for each of `count` training `problems` and judge them."""

    makes = "rollouts"

    model: FromModel
    problems: FromProblems
    count: int = Field(ge=1)
    answers: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    temperature: float = Field(gt=0)

    def completion_limits(self) -> list[Limit]:
        return [Limit("max_tokens", self.max_tokens)]


class Evaluate(Acting):
    """Score `model` on the first `count` of the held-out `problems`. `limits` names each completion limit; all are cut
    from one draw at the longest. `side`: the held-out problems, or those for training, to measure the pass rates that
    curation can filter by.
    """

    model: FromModel
    problems: FromProblems
    side: Literal["heldout", "train"]
    count: int = Field(ge=1)
    limits: dict[str, int] = Field(min_length=1)
    rollouts: int = Field(ge=1)
    ks: list[int]
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    confidence: float = Field(gt=0, lt=1)

    def completion_limits(self) -> list[Limit]:
        return [Limit(f"limits.{name}", tokens, self.side, self.count) for name, tokens in self.limits.items()]

    @model_validator(mode="after")
    def _ks_fit(self) -> Evaluate:
        if self.ks and max(self.ks) > self.rollouts:
            raise ValueError(f"pass@{max(self.ks)} needs at least {max(self.ks)} rollouts, got {self.rollouts}")
        return self
