"""Reforge's own format: the tests as in `tests.json` of `reforge judge`, with an id, a statement and references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from reforge.errors import in_words
from reforge.problems.adapters.fields import UnusableRow, day
from reforge.records import Problem
from reforge.sandbox.spec import ProblemSpec


class _Row(ProblemSpec):
    model_config = ConfigDict(extra="ignore")  # rows of a data set carry more than we ask for

    id: str = Field(min_length=1)
    statement: str
    solution: str = ""
    alternatives: list[str] = Field(default_factory=list)
    thinking: str = ""
    difficulty: int = 0
    family: str = ""


def reforge(row: Mapping[str, Any]) -> Problem:
    try:
        read = _Row.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        kind = "missing field" if first["type"] == "missing" else "wrong value"
        raise UnusableRow(f"{kind}: {place}, {in_words(dict(first))}") from error
    return replace(
        read.problem(read.id),
        statement=read.statement,
        solution=read.solution,
        alternatives=tuple(read.alternatives),
        thinking=read.thinking,
        difficulty=read.difficulty,
        family=read.family or read.id,
        date=day(row, "date"),
    )
