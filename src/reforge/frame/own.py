"""A Python file of the user's with parts of a reward or an environment: run as pinned, and what goes wrong in it is
reported as theirs, with its line."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from reforge.config.sampling import OwnFile
from reforge.errors import InfrastructureError, UserError, raised_at
from reforge.records import Reward, Rollout
from reforge.rollouts.play import Past


@dataclass(frozen=True)
class OwnEnvironment:
    """An environment of the user's class, which `path` holds: what it raises or returns is checked and reported as
    theirs."""

    path: str
    made: Any

    def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
        ids = blamed(f"{self.path}: Environment.prompt", self.made.prompt, problem_id, past)
        if ids is None:
            return None
        if not isinstance(ids, list | tuple) or not ids or not all(type(one) is int and one >= 0 for one in ids):
            shown = repr(ids)[:60]
            raise UserError(
                f"{self.path}: Environment.prompt returned {shown} for {problem_id}. It must return the token ids of a "
                "prompt, as template.prompt(messages) does, or None where the attempt ends."
            )
        return tuple(ids)

    def grade(self, rollout: Rollout) -> Reward:
        reward = blamed(f"{self.path}: Environment.grade", self.made.grade, rollout)
        if not isinstance(reward, Reward):
            raise UserError(
                f"{self.path}: Environment.grade returned {reward!r:.60} for {rollout.problem_id}/{rollout.index}. It "
                "must return a Reward: reforge.records.Reward(value, solved, parts, verdict)."
            )
        return reward


def blamed(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what `call` does. Raises UserError, with its place in the user's file, for whatever it raises."""
    try:
        return call(*arguments)
    except (UserError, InfrastructureError):
        raise
    except Exception as error:  # whatever a user's class raises
        raise UserError(f"{name} failed: {error!r} at {raised_at(error)}.") from error


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
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:  # whatever a user's file raises
        raise UserError(f"{path} cannot be run: {error!r} at {raised_at(error)}.") from error
    return module
