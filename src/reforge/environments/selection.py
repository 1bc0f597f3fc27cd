"""Select the tests of a problem that a reward is made from, deterministically; the verdict's key covers the choice."""

from __future__ import annotations

from dataclasses import replace

from reforge.records import Problem

RULE = "longest-inputs/1"  # to be changed whenever the choice is


def longest_inputs(problem: Problem, count: int) -> Problem:
    """Return the problem with only the `count` tests of the longest inputs, in their old order; of equally long ones
    the first are taken. DeepCoder samples the 15 most challenging tests of a problem in this way (blog, "Data")."""
    by_length = sorted(range(len(problem.tests)), key=lambda index: (-len(problem.tests[index].input), index))
    return replace(problem, tests=tuple(problem.tests[index] for index in sorted(by_length[:count])))
