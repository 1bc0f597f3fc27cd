"""Rollout → Reward."""

from __future__ import annotations

from reforge.sandbox.judge import Judging
from reforge.types import Problem, Reward, Rollout, Status, Verdict

_FENCE = "```"


def extract_program(text: str) -> str | None:
    """The last complete fenced code block of a completion, whatever its language tag; None where there is none.

    Line by line, in linear time: a model that repeats an opening fence for ever would bring a regular expression down.
    """
    program: str | None = None
    block: list[str] | None = None
    for line in text.split("\n"):
        if block is None:
            if line.startswith(_FENCE) and "`" not in line.removeprefix(_FENCE):
                block = []
        elif line.rstrip() == _FENCE:
            program, block = "".join(f"{inside}\n" for inside in block), None
        else:
            block.append(line)
    return program


def score(rollout: Rollout, problem: Problem, judge: Judging) -> Reward:
    """DeepCoder's sparse reward: 1 if every test passes in time, else 0; no credit for parts."""
    program = extract_program(rollout.text)
    verdict = Verdict(Status.NO_PROGRAM, "no complete code block") if program is None else judge.judge(program, problem)
    if not verdict.conclusive:
        return Reward(None, {}, verdict)
    accuracy = float(verdict.status is Status.ACCEPTED)
    return Reward(accuracy, {"accuracy": accuracy}, verdict)
