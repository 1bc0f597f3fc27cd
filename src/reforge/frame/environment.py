"""Make the environment that a stage's own values choose."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from reforge.config.sampling import Environment as Chosen
from reforge.config.sampling import OwnFile
from reforge.environments.code import Code
from reforge.environments.repair import Repair
from reforge.environments.rewards import PARTS, Part, Rewards
from reforge.environments.template import Template
from reforge.errors import InfrastructureError, UserError
from reforge.records import Problem, Reward, Rollout
from reforge.rollouts.play import Environment, Past
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
    module = load_own(own) if own else None
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
    return _Own(_blamed("Environment", kind, problems, template, judge, rewards))


@dataclass(frozen=True)
class _Own:
    """An environment of the user's own class: what it raises is reported as theirs."""

    made: Any

    def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
        ids = _blamed("Environment.prompt", self.made.prompt, problem_id, past)
        return None if ids is None else tuple(ids)

    def grade(self, rollout: Rollout) -> Reward:
        reward: Reward = _blamed("Environment.grade", self.made.grade, rollout)
        return reward


def _blamed(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except (UserError, InfrastructureError):
        raise
    except Exception as error:  # whatever a user's class raises
        raise UserError(f"{name} of your own file failed: {error!r}.") from error


@contextmanager
def graders(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of threads to grade in. Grading that has not begun when the block is left never does."""
    pool = ThreadPoolExecutor(threads, "grader")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def load_own(own: OwnFile) -> ModuleType:
    """Run the user's file and return its module, as long as the file is the one that was pinned when the configuration
    was composed."""
    path = Path(own.path).expanduser()
    if not path.is_file():
        raise UserError(f"There is no file {path}, which `own` names. Bring it back, or compose again.")
    code = path.read_bytes()  # what runs is what was pinned: no older bytecode, and none is written
    if hashlib.sha256(code).hexdigest() != own.sha256:
        raise UserError(f"{path} has changed since it was composed. Compose again to take it as it is now.")
    module = ModuleType("reforge_own")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
    except Exception as error:  # whatever a user's file raises
        raise UserError(f"{path} cannot be run: {error!r}.") from error
    return module
