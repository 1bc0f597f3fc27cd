"""Rollout → Reward."""

from __future__ import annotations

from reforge.sandbox.boxed import boxed
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
    """DeepCoder's sparse reward: 1 if every test passes in time, else 0; no credit for parts. Where an answer is asked
    for instead of a program, 1 if it is the right one.
    """
    asks_for_answer = problem.tests[0].kind == "answer"
    found = boxed(rollout.text) if asks_for_answer else extract_program(rollout.text)
    missing = "no closed \\boxed{}" if asks_for_answer else "no complete code block"
    verdict = Verdict(Status.NO_PROGRAM, missing) if found is None else judge.judge(found, problem)
    if not verdict.conclusive:
        return Reward(None, {}, verdict)
    accuracy = float(verdict.status is Status.ACCEPTED)
    return Reward(accuracy, {"accuracy": accuracy}, verdict)
