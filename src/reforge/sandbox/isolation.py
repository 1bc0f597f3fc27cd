"""The isolation of a program: layers that a machine may or may not offer, and the levels they add up to."""

from __future__ import annotations

from enum import IntEnum

NAMESPACES, LANDLOCK, SECCOMP = "namespaces", "landlock", "seccomp"
LAYERS = (NAMESPACES, LANDLOCK, SECCOMP)


class Isolation(IntEnum):
    """A level of isolation, which holds what the one below holds. docs/sandbox.md lists what is still open at each."""

    LIMITS = 0  # limits on time, memory, files; no privileges. For programs that one trusts
    SYSCALLS = 1  # also no new processes, no network, no signals or tracing (seccomp)
    FILES = 2  # also only the interpreter's library readable, only an own folder writable (Landlock or namespaces)
    FULL = 3  # also namespaces and Landlock both: own processes, network, mounts, IPC, host name

    @property
    def label(self) -> str:
        return self.name.lower()


def level_of(layers: tuple[str, ...]) -> Isolation:
    if SECCOMP not in layers:
        return Isolation.LIMITS
    return Isolation(Isolation.SYSCALLS + (NAMESPACES in layers) + (LANDLOCK in layers))


def warning_of(layers: tuple[str, ...], root: bool, reads_all: bool) -> str:
    """Return what to tell a user before programs of others run behind these layers; empty where files are safe."""
    if NAMESPACES in layers or LANDLOCK in layers:
        return ""
    if not root:
        return (
            "programs run as this user: they can read its files, and the memory of the judge with the expected answers"
        )
    return "programs can read whatever root may" if reads_all else "programs can read whatever every user may"
