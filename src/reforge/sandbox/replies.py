"""Read the messages of a sandbox process: they give a value, or say why there is none. The program may have forged any
of them: it can only harm itself.
"""

from __future__ import annotations

from typing import Any

from reforge.records import Status
from reforge.sandbox import wire
from reforge.sandbox.limits import Failed
from reforge.sandbox.process import FOREIGN


def value_of(message: dict[str, Any]) -> Any:
    if "value" not in message:
        raise failure_of(message)
    try:
        return wire.build(message["value"])
    except ValueError as error:
        raise Failed(Status.RUNTIME_ERROR, str(error)) from error


def failure_of(message: dict[str, Any]) -> Failed:
    """Return the failure that a message which is not a value reports."""
    if is_exception(message, "broken"):
        return Failed(Status.COMPILE_ERROR, ": ".join(filter(None, message["broken"])))
    if is_exception(message):
        out_of_memory = message["raised"][0] == "MemoryError"
        status = Status.MEMORY_LIMIT if out_of_memory else Status.RUNTIME_ERROR
        return Failed(status, ": ".join(filter(None, message["raised"])))
    if type(message.get("unplain")) is str:
        return Failed(Status.RUNTIME_ERROR, f"returned {message['unplain']}")
    return Failed(Status.RUNTIME_ERROR, FOREIGN)


def is_exception(message: dict[str, Any], kind: str = "raised") -> bool:
    detail = message.get(kind)
    return type(detail) is list and [type(part) for part in detail] == [str, str]


def outcome_of(message: dict[str, Any], answered: bool) -> Failed:
    """Return why a test did not pass: the program's value, its exception, or the test code itself."""
    ((kind, (name, text)),) = message.items()
    if kind == "failed":
        return Failed(Status.WRONG_ANSWER, text)
    if kind == "raised":
        return failure_of(message)
    return stumbled(f"{name}: {text}", answered)


def stumbled(reason: str, answered: bool) -> Failed:
    """Return the failure of test code that broke. After an answer of the program, the answer did that (`None[0]`): it
    is wrong. Before, the test is broken for every program: no program is to blame.
    """
    if answered:
        return Failed(Status.WRONG_ANSWER, f"the test could not use the returned value: {reason}")
    return Failed(Status.BROKEN_TEST, reason)
