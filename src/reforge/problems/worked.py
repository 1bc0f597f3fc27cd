"""Which training problems show how they are solved: few, and the easier ones, as in the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reforge.config.problems import Worked
from reforge.errors import UserError
from reforge.records import Problem


def hide_solutions(problems: Sequence[Problem], worked: Worked) -> list[Problem]:
    """Return the problems, of which the first `worked.count` of its difficulties keep their programs and their worked
    reasoning. Raises UserError where there are fewer of them."""
    shown = [problem.id for problem in problems if problem.solution and problem.difficulty in worked.difficulties]
    if len(shown) < worked.count:
        raise UserError(
            f"curate.*.worked: {worked.count} training problems of the difficulties {worked.difficulties} are to keep "
            f"their solutions, and {len(shown)} have one. Lower worked.count, or raise curate.*.train."
        )
    kept = set(shown[: worked.count])
    return [
        problem if problem.id in kept else replace(problem, solution="", thinking="", alternatives=())
        for problem in problems
    ]
