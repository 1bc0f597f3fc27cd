"""The learning rate of a step: a function of the step alone, so a resume needs no state for it."""

from __future__ import annotations

import math

from reforge.config.training import Decay


def learning_rate(peak: float, warmup_steps: int, decay: Decay, floor: float, step: int, steps: int) -> float:
    """Return the learning rate of step 1 … `steps`: it rises linearly to `peak` over the warm-up, then stays constant,
    or falls to `floor` · `peak` at `steps` + 1."""
    if step <= warmup_steps:
        return peak * step / warmup_steps
    done = (step - warmup_steps) / (steps + 1 - warmup_steps)
    left = {"none": 1.0, "linear": 1.0 - done, "cosine": (1.0 + math.cos(math.pi * done)) / 2}[decay]
    return peak * (floor + (1.0 - floor) * left)
