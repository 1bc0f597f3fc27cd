"""The nouns of the method, in the order in which the data meets them. All are frozen, and no field ever changes its
meaning.

Arrays elsewhere carry their axes as a suffix: G = rollouts of a group, T = tokens, N = trained tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeVar

Attempt = TypeVar("Attempt")


@dataclass(frozen=True)
class TestCase:
    """One hidden test. What `input` and `expected` hold depends on `kind`:

    - ``stdin``: the text fed to the program, the text it must print
    - ``call``: a typed-JSON list of arguments for the problem's entry point, the typed-JSON value it must return
    - ``assert``: source of test code that calls the entry point and raises when it is wrong; `expected` is empty
    - ``answer``: no program is asked for but a final answer, and `expected` is the right one; `input` is empty
    """

    __test__ = False  # not a pytest class, whatever its name suggests

    kind: Literal["stdin", "call", "assert", "answer"]
    input: str
    expected: str = ""


@dataclass(frozen=True)
class Checker:
    """The rule by which what a program printed (or, for answer tests, the answer itself) is right
    (`reforge.sandbox.checkers`).

    `rule`: tokens, lines, yesno, lcb; or program, and then `source` defines ``check(input, expected, output) -> bool``.
    `tolerance`: absolute or relative, for expected reals, where the rule has one.
    """

    rule: Literal["tokens", "lines", "yesno", "lcb", "program"] = "tokens"
    tolerance: float = 1e-6
    source: str = ""


@dataclass(frozen=True)
class Problem:
    """A programming problem with its reference program.

    `family` names what must not straddle a split: the composition for generated problems, the id elsewhere.
    `setup` is code that the *tests* of kind ``assert`` need. `files` (name, text) lie in the folder the program runs
    in, for it to import or read. `entry_point` is a function, `Class.method`, or a method of a class `Solution`.
    `thinking` is a worked reasoning (empty where the source has none). `difficulty`: the greater the harder, on a scale
    of the source (0: unknown). `alternatives` are further published programs, `date` the day (YYYY-MM-DD) on which the
    problem came out, if known. `several_answers`: two published programs answer differently. An empty `solution`: the
    source has none.
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
    files: tuple[tuple[str, str], ...] = ()
    checker: Checker = Checker()
    alternatives: tuple[str, ...] = ()
    date: str = ""
    several_answers: bool = False

    @property
    def goal(self) -> Literal["tests", "answer"]:
        """Return what solves the problem: a program that passes its tests, or the right final answer."""
        return "answer" if self.tests and self.tests[0].kind == "answer" else "tests"


@dataclass(frozen=True)
class Prompt:
    """The question of turn `turn` of attempt `index` at a problem, both counted from 0."""

    problem_id: str
    token_ids: tuple[int, ...]
    index: int = 0
    turn: int = 0


class Status(StrEnum):
    """The outcome of judging a program. INFRA (the machine failed) and BROKEN (the tests failed, for every program) are
    not wrong answers: such rollouts are masked from the loss and counted."""

    ACCEPTED = "AC"
    WRONG_ANSWER = "WA"
    RUNTIME_ERROR = "RE"
    TIME_LIMIT = "TLE"
    MEMORY_LIMIT = "MLE"
    OUTPUT_LIMIT = "OLE"
    COMPILE_ERROR = "CE"
    NO_PROGRAM = "NP"
    BROKEN_TEST = "BROKEN"
    INFRASTRUCTURE = "INFRA"

    @property
    def conclusive(self) -> bool:
        """Return whether the status says something about the program. If not, there is no reward, not even 0."""
        return self not in (Status.INFRASTRUCTURE, Status.BROKEN_TEST)

    @property
    def solved(self) -> bool | None:
        """Return whether the program passed every test; None where that is unknown."""
        return self is Status.ACCEPTED if self.conclusive else None


@dataclass(frozen=True)
class Verdict:
    """The finding of the sandbox about a program. `test_index` is the first test not passed, −1 where all passed or
    none was reached.

    `wall_seconds` and `memory_kb` are those of its largest process: each stdin test has one of its own, all call or
    assert tests share one. `cpu_seconds` is that of the test that took most; for assert tests, that of all together.
    `isolation`, `interpreter` and `checker` say how it was judged. `exposed`: what the tests compared was decided by
    the program itself (sandbox/relay.py). `key` is a digest of program, tests, limits and judge: equal keys mean an
    equal question.
    """

    status: Status
    reason: str = ""
    test_index: int = -1
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_kb: int = 0
    isolation: str = ""
    interpreter: str = ""
    checker: str = ""
    exposed: bool = False
    key: str = ""

    @property
    def conclusive(self) -> bool:
        return self.status.conclusive

    @property
    def solved(self) -> bool | None:
        return self.status.solved


@dataclass(frozen=True)
class Rollout:
    """One completion with what the sampler knew of it: for each token of `token_ids` its log-prob, and the policy
    version that it was drawn from. The rollouts with the same problem and index are the turns of one attempt, each with
    a prompt of its own.
    """

    problem_id: str
    index: int
    seed: int
    policy_versions: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
    text: str
    turn: int = 0

    @property
    def truncated(self) -> bool:
        return self.finish_reason == "length"


@dataclass(frozen=True)
class Reward:
    """The reward that a rollout earned. `value` is what training maximises, `solved` is what is counted: whatever
    `value` is made of, pass@k stays what it is. Both are None where nothing can be said, as after an infrastructure
    failure: unscored is not zero. `parts`: what `value` is the weighted sum of. `verdict`: None where no program or
    answer was judged."""

    value: float | None
    solved: bool | None
    parts: dict[str, float]
    verdict: Verdict | None


@dataclass(frozen=True)
class Group:
    """The scored rollouts of a problem, attempt by attempt and turn by turn; `rewards[i]` belongs to `rollouts[i]`."""

    problem_id: str
    rollouts: tuple[Rollout, ...]
    rewards: tuple[Reward, ...]


def solved_by_attempt(turns: Iterable[tuple[Attempt, bool | None]]) -> dict[Attempt, bool | None]:
    """Return for each attempt whether one of its turns solved the problem; None where none did and it is unknown of
    one. `turns`: for each turn the attempt that it belongs to, and whether it solved the problem."""
    found: dict[Attempt, bool | None] = {}
    for attempt, solved in turns:
        before = found.get(attempt, False)
        found[attempt] = True if solved or before else None if solved is None or before is None else False
    return found
