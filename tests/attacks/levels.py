"""The levels of isolation, each with the layers that make it."""

import pytest

from reforge.sandbox.isolation import LANDLOCK, NAMESPACES, SECCOMP
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=0.4, wall_seconds=1.0, memory_mb=128, output_kb=64)
# Two of them make up the level `files`: a machine may have either.
OFFERED = {
    "full": (NAMESPACES, LANDLOCK, SECCOMP),
    "landlock": (LANDLOCK, SECCOMP),
    "namespaces": (NAMESPACES, SECCOMP),
    "syscalls": (SECCOMP,),
    "limits": (),
}


def judge_at(level: str) -> Judge:
    """Skips where this machine does not offer the level: at another one, nothing would be shown."""
    judge = Judge(LIMITS, workers=1, layers=OFFERED[level])
    if judge._fleet.layers != OFFERED[level]:
        judge.close()
        pytest.skip(f"this machine does not offer {level}: {judge.refused}")
    return judge
