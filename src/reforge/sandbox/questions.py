"""Check which problems can be judged at all: those whose tests are there, of one kind, and can be read."""

from __future__ import annotations

import json
import os
from typing import Any

from reforge.errors import UserError
from reforge.records import Problem
from reforge.sandbox import wire
from reforge.sandbox.kinds import NotPlainError

FILES_BYTES = 8 << 20  # half a scratch folder: the other half is the program's
TESTS_BYTES = 1 << 26  # the most that a test hands over; the tests are ours


def check_tests(problem: Problem) -> None:
    """Raise UserError for a problem that cannot be judged: without tests everything would pass."""
    kinds = sorted({test.kind for test in problem.tests})
    if unknown := set(kinds) - {"stdin", "call", "assert", "answer"}:
        known = "stdin, call, assert or answer"
        raise UserError(f"Problem {problem.id!r} has tests of the kind {unknown.pop()!r}, not {known}.")
    if len(kinds) != 1:
        found = f"tests of the kinds {', '.join(kinds)}" if kinds else "no tests"
        raise UserError(f"Problem {problem.id!r} has {found}; it needs at least one test, all of one kind.")
    if kinds[0] in ("call", "assert") and not problem.entry_point:
        raise UserError(f"Problem {problem.id!r} has {kinds[0]} tests but no entry_point to call.")
    if problem.checker.rule == "program" and not problem.checker.source.strip():
        raise UserError(f"Problem {problem.id!r} is checked by a program, and checker.source is empty.")
    texts = {"entry_point": problem.entry_point, "setup": problem.setup, "checker.source": problem.checker.source}
    for index, test in enumerate(problem.tests):
        texts |= {f"test {index}: its input": test.input, f"test {index}: its expected answer": test.expected}
    for what, text in (*texts.items(), *(("a file", text) for file in problem.files for text in file)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"Problem {problem.id!r}, {what} is no text: {error}.") from error
    if kinds == ["call"]:
        calls_of(problem)
    if sum(len(text.encode()) for _, text in problem.files) > FILES_BYTES:
        raise UserError(f"Problem {problem.id!r} has more than {FILES_BYTES >> 20} MB of files.")
    for name, _ in problem.files:
        if os.path.isabs(name) or ".." in name.split("/") or not name:
            raise UserError(f"Problem {problem.id!r} has a file named {name!r}; it must lie in the program's folder.")


def calls_of(problem: Problem) -> list[tuple[list[Any], Any]]:
    """Return for each call test the arguments, still in typed JSON, and the expected value. Raises UserError where they
    are malformed."""
    calls = []
    for index, test in enumerate(problem.tests):
        try:
            arguments, expected = wire.parse_long(test.input), wire.build(wire.parse_long(test.expected))
            arguments = json.loads(
                wire.dumps(wire.build(arguments), TESTS_BYTES)
            )  # long integers written as they cross
        except (ValueError, RecursionError, NotPlainError) as error:
            raise UserError(f"Problem {problem.id!r}, test {index}: {error}.") from error
        if type(arguments) is not list:
            raise UserError(f"Problem {problem.id!r}, test {index}: the input must be a JSON list of arguments.")
        calls.append((arguments, expected))
    return calls
