"""The environment of several turns: a program that does not pass is shown to the policy again with what the sandbox
said of it.

What is said is the verdict and the kind of an exception, never what a hidden test holds, and the thinking of former
turns is dropped (Kevin-32B, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

from reforge.environments.code import Code
from reforge.environments.template import parse
from reforge.records import Reward, Rollout, Status

_SAID = {
    Status.WRONG_ANSWER: "it gives a wrong answer",
    Status.RUNTIME_ERROR: "it ends with an error",
    Status.TIME_LIMIT: "it takes too long",
    Status.MEMORY_LIMIT: "it takes too much memory",
    Status.OUTPUT_LIMIT: "it prints too much",
    Status.COMPILE_ERROR: "it is not valid Python",
    Status.NO_PROGRAM: "there is no answer in it",
}


class Repair(Code):
    """The environment `Code` with further turns: what does not pass is asked for again."""

    def prompt(self, problem_id: str, past: Sequence[tuple[Rollout, Reward]]) -> tuple[int, ...] | None:
        if past and past[-1][1].solved:
            return None
        messages = [{"role": "user", "content": self.problems[problem_id].statement}]
        for rollout, reward in past:
            messages.append({"role": "assistant", "content": (parse(rollout.text).answer or "").strip()})
            messages.append({"role": "user", "content": self._feedback(problem_id, reward)})
        return self.template.prompt(messages)

    def _feedback(self, problem_id: str, reward: Reward) -> str:
        assert reward.verdict is not None  # `Code` always gives one
        return f"That is not right: {_SAID[reward.verdict.status]}. Write it again, whole."
