"""Problems as JSON: what `reforge judge --tests FILE` reads and what goes over HTTP."""

from __future__ import annotations

import codecs
import dataclasses
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reforge.errors import UserError, in_words
from reforge.records import Checker, Problem, TestCase


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TestSpec(_Spec):
    __test__ = False

    kind: Literal["stdin", "call", "assert", "answer"]
    input: str
    expected: str = ""


class CheckerSpec(_Spec):
    rule: Literal["tokens", "lines", "yesno", "lcb", "program"] = "tokens"
    tolerance: float = Field(default=1e-6, ge=0)
    source: str = ""


class ProblemSpec(_Spec):
    """The part of a problem that the sandbox needs to know."""

    tests: list[TestSpec] = Field(min_length=1)
    entry_point: str = ""
    setup: str = ""
    files: dict[str, str] = {}
    checker: CheckerSpec = CheckerSpec()

    def problem(self, name: str) -> Problem:
        return Problem(
            id=name,
            statement="",
            solution="",
            tests=tuple(TestCase(**test.model_dump()) for test in self.tests),
            entry_point=self.entry_point,
            setup=self.setup,
            files=tuple(self.files.items()),
            checker=Checker(**self.checker.model_dump()),
        )

    def problems(self, name: str, rules: list[str] | None) -> list[Problem]:
        """Return the problem once for each of these rules of checking, or, without any, by the rule that the file has.
        Raises UserError for a rule that does not exist."""
        if not rules:
            return [self.problem(name)]
        try:
            return [
                dataclasses.replace(
                    self.problem(name),
                    checker=Checker(**CheckerSpec(**{**self.checker.model_dump(), "rule": rule}).model_dump()),
                )
                for rule in rules
            ]
        except ValidationError as error:
            raise UserError(f"--checker {', '.join(rules)}: it {in_words(dict(error.errors()[0]))}.") from error


def spec_of(problem: Problem) -> ProblemSpec:
    return ProblemSpec(
        tests=[TestSpec(kind=test.kind, input=test.input, expected=test.expected) for test in problem.tests],
        entry_point=problem.entry_point,
        setup=problem.setup,
        files=dict(problem.files),
        checker=CheckerSpec(
            rule=problem.checker.rule, tolerance=problem.checker.tolerance, source=problem.checker.source
        ),
    )


def read_spec(path: Path) -> ProblemSpec:
    """Read the problem of a JSON file. Raises UserError for what is no such file, naming the place in it."""
    try:
        return ProblemSpec.model_validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. --tests names a JSON file.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path}: {where}: {in_words(dict(first))}. It must hold an object like "
            '{"tests": [{"kind": "stdin", "input": "1 2", "expected": "3"}]}; docs/sandbox.md lists the other keys.'
        ) from error
