"""Which of a problem's tests a reward is made from. Deterministic; the verdict's key covers what was selected."""

from __future__ import annotations

from dataclasses import replace

from reforge.records import Problem

RULE = "longest-inputs/1"  # changes whenever the choice does


def longest_inputs(problem: Problem, count: int) -> Problem:
    """With the `count` tests of the longest inputs, in their old order; of equals the first. DeepCoder samples the 15
    most challenging tests of a problem so (blog, "Data").
    """
    by_length = sorted(range(len(problem.tests)), key=lambda index: (-len(problem.tests[index].input), index))
    return replace(problem, tests=tuple(problem.tests[index] for index in sorted(by_length[:count])))
