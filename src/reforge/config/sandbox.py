"""The sandbox that programs are judged in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reforge.config.section import Section


class Sandbox(Section):
    """The sandbox and its limits. `cpu_seconds` is the limit of each test, `budget_seconds` that of all tests of a
    program together (null: none)."""

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
