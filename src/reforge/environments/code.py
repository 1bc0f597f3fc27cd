"""The environment of one question and one answer: a program that the sandbox runs against the tests, or a final answer
that it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reforge.environments.programs import extract_program
from reforge.environments.rewards import Graded, Rewards
from reforge.environments.template import Parsed, Template, parse
from reforge.records import Problem, Reward, Rollout, Status, Verdict
from reforge.sandbox.boxed import boxed
from reforge.sandbox.judge import Judging


class Code:
    """The environment of single-turn training, for problems by id."""

    def __init__(self, problems: Mapping[str, Problem], template: Template, judge: Judging, rewards: Rewards) -> None:
        self.problems, self.template, self.judge, self.rewards = problems, template, judge, rewards

    def prompt(self, problem_id: str, past: Sequence[tuple[Rollout, Reward]]) -> tuple[int, ...] | None:
        return None if past else self.template.question(self.problems[problem_id])

    def grade(self, rollout: Rollout) -> Reward:
        problem, parsed = self.problems[rollout.problem_id], parse(rollout.text)
        return self.rewards(Graded(problem, rollout, parsed, judged(parsed, problem, self.judge)))


def judged(parsed: Parsed, problem: Problem, judge: Judging) -> Verdict:
    if problem.goal == "answer":
        found, missing = boxed(parsed.answer or ""), "no closed \\boxed{} after the thinking"
    else:
        found = None if parsed.answer is None else extract_program(parsed.answer, problem.entry_point)
        missing = "no closed block of Python after the thinking"
    return Verdict(Status.NO_PROGRAM, missing) if found is None else judge.judge(found, problem)
