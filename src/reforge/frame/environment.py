"""Make the environment that a stage's own values choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from reforge.config.sampling import Environment as Chosen
from reforge.config.sampling import OwnFile
from reforge.environments.code import Code
from reforge.environments.repair import Repair
from reforge.environments.rewards import PARTS, Part, Rewards
from reforge.environments.template import Template
from reforge.errors import UserError
from reforge.frame.own import OwnEnvironment, blamed, load_own
from reforge.records import Problem
from reforge.rollouts.play import Environment
from reforge.sandbox.judge import Judging

ENVIRONMENTS: dict[str, type[Code]] = {"code": Code, "repair": Repair}


def environment_of(
    chosen: Chosen,
    reward: Mapping[str, float],
    own: OwnFile | None,
    problems: Mapping[str, Problem],
    template: Template,
    judge: Judging,
) -> Environment:
    """Return the environment `chosen`, with rewards by the weights of `reward`; parts, and the class `Environment` for
    the kind `own`, may come from the user's file. Raises UserError where that does not hold them.
    """
    module, path = (load_own(own), own.path) if own else (None, "")
    missing = [name for name in reward if name not in PARTS and not callable(getattr(module, name, None))]
    if missing and own:
        raise UserError(f"{own.path} defines no function {missing[0]}(graded), which is a part of the reward.")
    parts: dict[str, Part] = {name: getattr(module, name) for name in reward if name not in PARTS}
    kind: Any = ENVIRONMENTS.get(chosen.kind) or getattr(module, "Environment", None)
    if kind is None and own:
        raise UserError(f"{own.path} defines no class Environment, which environment.kind=own asks for.")
    rewards = Rewards(reward, parts)
    if chosen.kind != "own":
        return ENVIRONMENTS[chosen.kind](problems, template, judge, rewards)
    made = blamed(f"{path}: Environment", kind, problems, template, judge, rewards)
    return OwnEnvironment(path, made)


@contextmanager
def graders(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads to grade in. Grading that has not begun when the block is left never does."""
    pool = ThreadPoolExecutor(threads, "grader")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
