"""Published data sets → `Problem`. To add one, write a function, its line in `_ADAPTERS` and a name in
`config/problems.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reforge.errors import UserError
from reforge.problems.adapters import answers, contests, functions, own
from reforge.problems.adapters.fields import UnusableRow
from reforge.records import Problem
from reforge.sandbox.questions import check_tests

__all__ = ["UnusableRow", "adapt"]

_ADAPTERS: dict[str, Callable[[Mapping[str, Any]], Problem]] = {
    "reforge": own.reforge,
    "mbpp": functions.mbpp,
    "humaneval": functions.humaneval,
    "leetcode": functions.leetcode,
    "taco": contests.taco,
    "apps": contests.apps,
    "synthetic1": contests.synthetic1,
    "code_contests": contests.code_contests,
    "codeforces": contests.codeforces,
    "livecodebench": contests.livecodebench,
    "gsm8k": answers.gsm8k,
    "math": answers.math,
    "aime": answers.aime,
}
_LARGEST = 1 << 28  # characters of all texts of a problem: CodeContests' largest has some 60 million


def adapt(adapter: str, row: Any) -> Problem:
    """Return the problem that a row holds. Raises UnusableRow, and nothing else, whatever the row holds."""
    if not isinstance(row, Mapping):
        raise UnusableRow(f"not an object: a JSON {type(row).__name__}")
    try:
        problem = _ADAPTERS[adapter](row)
        _check(problem)
    except UnusableRow:
        raise
    except UserError as error:
        raise UnusableRow(f"broken tests: {error}") from error
    except Exception as error:  # what nobody thought of costs this row, not the hours before it
        what = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise UnusableRow(f"unreadable: its fields are not those of {adapter}, {what}") from error
    return problem


def _check(problem: Problem) -> None:
    """Raise UnusableRow unless the problem has what every later step relies on."""
    size = 0
    for field, content in _texts(problem):
        size += len(content)
        if size > _LARGEST:
            raise UnusableRow(f"huge: more than {_LARGEST:,} characters, at {field}")
        if field != "tests" and "\0" in content:
            raise UnusableRow(f"no text: {field} holds a NUL character")
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise UnusableRow(f"no text: {field} holds half a surrogate pair, character {error.start + 1}") from error
    check_tests(problem)


def _texts(problem: Problem) -> Iterator[tuple[str, str]]:
    for field in ("id", "statement", "solution", "entry_point", "setup", "thinking", "family"):
        yield field, getattr(problem, field)
    yield from (("alternatives", program) for program in problem.alternatives)
    yield from (("files", text) for file in problem.files for text in file)
    yield from (("tests", text) for test in problem.tests for text in (test.input, test.expected))
