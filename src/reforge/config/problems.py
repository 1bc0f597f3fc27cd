"""The configuration of curation: where problems come from, and which are kept."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from reforge.config.section import Instance, Section

Day = Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


class ProblemSource(Section):
    """A published set: a local file, or a `datasets` name with its revision. An empty text means that it is not given.

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
    """The verification of problems by published programs. `references`: how many programs of a problem are run, at
    least (if none passes, the others follow); where one passes and a different one answers differently, the problem has
    several answers. `runs`: how often the accepted one is run; a problem whose reference passes some of these runs only
    is flaky."""

    references: int = Field(ge=1)
    runs: int = Field(ge=1)
    several_answers: Literal["keep", "drop"]


class Near(Section):
    """Jaccard similarities from which on two problems are one: of the words of their statements, or of their tests."""

    statement: float = Field(gt=0, le=1)
    tests: float = Field(gt=0, le=1)


class PassRates(Section):
    """Keep problems that a policy solves in more than `above` and less than `below` of its rollouts. `path`: the
    rollouts.parquet of `reforge stage evaluate@…`, at the completion `limit`; `sha256` as for sources.
    """

    path: str
    sha256: str = ""
    limit: str
    above: float = Field(ge=0, lt=1)
    below: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _something_fits(self) -> PassRates:
        if self.above >= self.below:
            raise ValueError(f"no rate is above {self.above} and below {self.below}")
        return self


class Worked(Section):
    """The training problems that keep their worked solution: the first `count` of these difficulties. All others have
    tests only, as most problems of the world do."""

    difficulties: list[int] = Field(min_length=1)
    count: int = Field(ge=1)


class Curate(Instance):
    """A stage that curates problems: where they come from and which are kept, in the order of the steps. No
    `languages`: any is kept. Null `near`: nothing is compared; null `pass_rates`: nothing is filtered by them.
    `against`: evaluation sets that no problem may come from. Null `train`: all that are not held out are for training.
    Null `worked`: all keep the worked solution that they came with.
    """

    makes = "problems"

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
    worked: Worked | None

    def files(self) -> dict[str, ProblemSource | PassRates]:
        found: dict[str, ProblemSource | PassRates] = {}
        for table, sources in (("sources", self.sources), ("against", self.against)):
            found |= {f"{table}.{name}": source for name, source in sources.items() if source.adapter != "generated"}
        return found | ({"pass_rates": self.pass_rates} if self.pass_rates else {})

    @model_validator(mode="after")
    def _can_be_met(self) -> Curate:
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
