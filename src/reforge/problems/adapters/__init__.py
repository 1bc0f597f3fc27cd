"""Published data sets → `Problem`. To add one: a function, its line in `_ADAPTERS`, a name in `Problems.adapter`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reforge.problems.adapters import contests, functions
from reforge.problems.adapters.fields import UnusableRow
from reforge.types import Problem

__all__ = ["UnusableRow", "adapt"]

_ADAPTERS: dict[str, Callable[[Mapping[str, Any]], Problem]] = {
    "mbpp": functions.mbpp,
    "humaneval": functions.humaneval,
    "leetcode": functions.leetcode,
    "taco": contests.taco,
    "apps": contests.apps,
    "synthetic1": contests.synthetic1,
    "code_contests": contests.code_contests,
    "codeforces": contests.codeforces,
    "livecodebench": contests.livecodebench,
}


def adapt(adapter: str, row: Any) -> Problem:
    if not isinstance(row, Mapping):
        raise UnusableRow(f"not an object: a JSON {type(row).__name__}")
    return _ADAPTERS[adapter](row)
