"""The contents of a report, as plain records that the report stage fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Scores = Mapping[str, Mapping[str, Any]]  # model → its scores.json


@dataclass(frozen=True)
class Gain:
    """The paired difference of two models on the same held-out problems, at one limit."""

    model: str
    baseline: str
    limit: str
    problems: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RungCurve:
    """The metrics.jsonl of one context rung."""

    name: str
    max_tokens: int
    steps: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class Example:
    problem_id: str
    difficulty: int
    statement: str
    completion: str
    tokens: int
    truncated: bool
    status: str
    solved: bool | None
    reason: str


@dataclass(frozen=True)
class Link:
    """A folder or file with its digest as DVC computes it. `verified`: `reforge verify` has made it again."""

    path: str
    digest: str
    verified: bool


@dataclass(frozen=True)
class Chain:
    """The origin of a model's scores: the output of the stage that made the model, the models that this stage started
    from, and what evaluation drew from the model."""

    model: str
    made_from: str
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Report:
    experiment: str
    seed: int
    confidence: float
    limits: Mapping[str, int]
    limit: str  # the limit at which models are compared by difficulty and examples are cut
    scores: Scores
    gains: tuple[Gain, ...]  # of the last rung, over the model that RL began with first
    curves: tuple[RungCurve, ...]
    climb: tuple[tuple[str, float], ...]  # the models on the way of RL, and the tokens sampled until each was done
    funnel: tuple[tuple[str, str], ...]
    model: str  # the model that the report is about, whose examples are shown
    examples: tuple[tuple[str, tuple[Example, ...]], ...]  # a heading and its rollouts
    problems: Link
    repeated: str  # R4 in a sentence, empty where nobody has measured it
    lineage: tuple[Chain, ...]
