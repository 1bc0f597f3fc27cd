"""The nouns of the method, in the order the data meets them. Frozen; no field ever changes its meaning.

Arrays elsewhere carry their axes as a suffix: G = rollouts of a group, T = tokens, N = trained tokens of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True)
class TestCase:
    """One hidden test. What `input` and `expected` hold depends on `kind`:

    - ``stdin``: the text fed to the program, the text it must print
    - ``call``: a typed-JSON list of arguments for the problem's entry point, the typed-JSON value it must return
    - ``assert``: source of test code that calls the entry point and raises when it is wrong; `expected` is empty
    """

    __test__ = False  # not a pytest class, whatever its name suggests

    kind: Literal["stdin", "call", "assert"]
    input: str
    expected: str = ""


@dataclass(frozen=True)
class Problem:
    """A programming problem with its reference program.

    `family` names what must not straddle a split: the composition for generated problems, the id elsewhere.
    `setup` is code that the *tests* of kind ``assert`` need; it never enters the process of a judged program.
    `thinking` is a worked reasoning (empty where the source has none).
    """

    id: str
    statement: str
    solution: str
    tests: tuple[TestCase, ...]
    entry_point: str = ""
    setup: str = ""
    thinking: str = ""
    difficulty: int = 0
    family: str = ""


@dataclass(frozen=True)
class Prompt:
    problem_id: str
    token_ids: tuple[int, ...]


class Status(StrEnum):
    """What the sandbox says. INFRA is never a wrong answer: it is masked from the loss and counted."""

    ACCEPTED = "AC"
    WRONG_ANSWER = "WA"
    RUNTIME_ERROR = "RE"
    TIME_LIMIT = "TLE"
    MEMORY_LIMIT = "MLE"
    OUTPUT_LIMIT = "OLE"
    COMPILE_ERROR = "CE"
    NO_PROGRAM = "NP"
    INFRASTRUCTURE = "INFRA"


@dataclass(frozen=True)
class Verdict:
    """`test_index` is the first test not passed, −1 where all passed or none was reached."""

    status: Status
    reason: str = ""
    test_index: int = -1
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Rollout:
    """A completion with what the sampler knew of it. `logprobs` are the sampler's, one per token of `token_ids`."""

    problem_id: str
    index: int
    seed: int
    policy_version: int
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    text: str

    @property
    def truncated(self) -> bool:
        return self.finish_reason == "length"


@dataclass(frozen=True)
class Reward:
    """`value` is None where the verdict is an infrastructure failure: unscored is not zero."""

    value: float | None
    parts: dict[str, float]
    verdict: Verdict


@dataclass(frozen=True)
class Group:
    """The scored rollouts of one prompt; `rewards[i]` belongs to `rollouts[i]`."""

    problem_id: str
    rollouts: tuple[Rollout, ...]
    rewards: tuple[Reward, ...]
