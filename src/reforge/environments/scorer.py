"""Rollout → Reward."""

from __future__ import annotations

from reforge.environments.programs import extract_program, without_thinking
from reforge.records import Problem, Reward, Rollout, Status, Verdict
from reforge.sandbox.boxed import boxed
from reforge.sandbox.judge import Judging

__all__ = ["extract_program", "score"]


def score(rollout: Rollout, problem: Problem, judge: Judging) -> Reward:
    """DeepCoder's sparse reward: 1 if every test passes in time, else 0; no credit for parts. Where an answer is asked
    for instead of a program, 1 if it is the right one.
    """
    asks_for_answer = problem.tests[0].kind == "answer"
    if asks_for_answer:
        found, missing = boxed(without_thinking(rollout.text) or ""), "no closed \\boxed{} after the thinking"
    else:
        found = extract_program(rollout.text, problem.entry_point)
        missing = "no closed block of Python after the thinking"
    verdict = Verdict(Status.NO_PROGRAM, missing) if found is None else judge.judge(found, problem)
    if not verdict.conclusive:
        return Reward(None, {}, verdict)
    accuracy = float(verdict.status is Status.ACCEPTED)
    return Reward(accuracy, {"accuracy": accuracy}, verdict)
