"""The levels of isolation, each with the layers that make it."""

import pytest

from reforge.sandbox.isolation import LANDLOCK, NAMESPACES, SECCOMP
from reforge.sandbox.judge import Judge, Limits

# Nothing fails for being slow, but what is meant to meet a limit meets it soon.
PATIENT = Limits(cpu_seconds=10.0, wall_seconds=60.0, memory_mb=128, output_kb=64)
STRICT = Limits(cpu_seconds=0.4, wall_seconds=1.0, memory_mb=128, output_kb=64)
# Two of them make up the level `files`: a machine may have either.
OFFERED = {
    "full": (NAMESPACES, LANDLOCK, SECCOMP),
    "landlock": (LANDLOCK, SECCOMP),
    "namespaces": (NAMESPACES, SECCOMP),
    "syscalls": (SECCOMP,),
    "limits": (),
}


def judge_at(level: str, limits: Limits = PATIENT) -> Judge:
    """Skips where this machine does not offer the level: at another one, nothing would be shown."""
    judge = Judge(limits, workers=1, layers=OFFERED[level])
    if judge._fleet.layers != OFFERED[level]:
        judge.close()
        pytest.skip(f"this machine does not offer {level}: {judge.refused}")
    return judge
