"""How tests read completions, and have them graded."""

from __future__ import annotations

from typing import Any

from reforge.environments.code import Code
from reforge.environments.programs import extract_program
from reforge.environments.rewards import Rewards
from reforge.environments.template import parse
from reforge.records import Problem, Reward, Rollout
from reforge.sandbox.judge import Judging

NO_TEMPLATE: Any = None  # grading asks none


def program_in(text: str, entry_point: str = "") -> str | None:
    answer = parse(text).answer
    return None if answer is None else extract_program(answer, entry_point)


def graded(rollout: Rollout, problem: Problem, judge: Judging) -> Reward:
    rewards = Rewards({"accuracy": 1.0}, {})
    return Code({rollout.problem_id: problem}, NO_TEMPLATE, judge, rewards).grade(rollout)
