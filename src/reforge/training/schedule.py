"""The schedule of which policy draws which batch: a function of the config, never of the clock.

Policy version k is what step k leaves behind; 0 is the first policy. With a staleness of 0 a batch is drawn from the
newest version, and sampling and training take turns. With 1, the one-off pipelining of DeepCoder, the batch of step
k + 1 is drawn while step k trains. As the order is fixed, an asynchronous run is as reproducible as a synchronous one:
what others let the clock decide (Noukhovitch et al. 2024, AReaL) is decided here beforehand.
"""

from __future__ import annotations


def version_for(step: int, staleness: int) -> int:
    """Return the policy version that the batch of `step` (from 1) is drawn from."""
    return max(0, step - 1 - staleness)


def is_drawn_from(version: int, staleness: int, steps: int) -> bool:
    """Return whether any of `steps` batches is drawn from `version`, so whether the samplers need it."""
    return version <= version_for(steps, staleness)


def older_versions(step: int, staleness: int, steps: int) -> list[int]:
    """Return the versions before `step` that batches after `step` are drawn from: what a resume needs besides the
    newest."""
    return [
        version for version in range(version_for(step + 1, staleness), step) if is_drawn_from(version, staleness, steps)
    ]


def step_seconds(sampling: float, grading: float, training: float, staleness: int) -> float:
    """Return what a step takes at least, once the pipeline is full: no part works on two batches at a time, and
    staleness + 1 batches are on their way at once. `grading` is the time from the last rollout's end to its verdict."""
    return max(sampling, training, (sampling + grading + training) / (staleness + 1))
