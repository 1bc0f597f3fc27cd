"""Find problems that are the same under a different name, in different words or with their tests in a different order,
and those of an evaluation set.

Two views of a problem are compared, since neither is enough: the words of its statement, and its tests with the
function's name taken out. Candidates come from MinHash and LSH (rensa) and are then compared exactly.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from rensa import RMinHash, RMinHashLSH

from reforge.config.problems import Near
from reforge.problems.funnel import Entry, Quarantined
from reforge.records import Problem, TestCase
from reforge.sandbox import wire
from reforge.sandbox.asserts import Call, steps_of

_WORD = re.compile(r"[^\W_]+")
_NAME = "_f"  # the name of every function in these views
_SHINGLE = 3  # words
_NGRAM = 10  # words, as DeepSeek-Coder filters its corpus (arXiv 2401.14196, section 2.3)
_TELLING = 2  # n-grams that more problems of an evaluation set share are how it phrases things
_PERMUTATIONS = 256
_ROWS = (1, 2, 4, 8, 16)
_RECALL = 0.999


def drop_duplicates(entries: Iterable[Entry], near: Near) -> tuple[list[Entry], list[Quarantined]]:
    """Leave out duplicates: of problems that are the same, the first stays."""
    known, kept, dropped = _Known(near), list[Entry](), list[Quarantined]()
    for entry in entries:
        looks = _Looks(entry.problem)
        if same := known.like(looks):
            dropped.append(entry.out(f"duplicate: of {same}"))
        else:
            known.add(looks)
            kept.append(entry)
    return kept, dropped


def drop_contaminated(
    entries: Sequence[Entry], evaluation: Iterable[Problem], near: Near
) -> tuple[list[Entry], list[Quarantined]]:
    """Leave out what is the same as a problem of an evaluation set, or shares ten words in a row with its statement."""
    known, owners = _Known(near), defaultdict[tuple[str, ...], list[str]](list)
    for problem in evaluation:
        known.add(_Looks(problem))
        for ngram in _ngrams(problem):
            owners[ngram].append(problem.id)
    ngrams = {ngram: ids[0] for ngram, ids in owners.items() if len(ids) <= _TELLING}
    kept, dropped = list[Entry](), list[Quarantined]()
    for entry in entries:
        same = known.like(_Looks(entry.problem)) or next(
            (f"{ngrams[n]} (words: {' '.join(n)})" for n in sorted(_ngrams(entry.problem)) if n in ngrams), ""
        )
        if same:
            dropped.append(entry.out(f"contaminated: by {same}"))
        else:
            kept.append(entry)
    return kept, dropped


class _Looks:
    """A problem, its views, and sketches of those views that hold anything."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.views = views_of(problem)
        self.sketches = {name: _sketch(view) for name, view in self.views.items() if view}


def _sketch(view: frozenset[str]) -> RMinHash:
    sketch = RMinHash(_PERMUTATIONS, 1)
    sketch.update(list(view))  # from_token_sets makes the permutations anew for every call
    return sketch


class _Known:
    """The problems so far, to be asked whether a given one is among them."""

    def __init__(self, near: Near) -> None:
        self._least = {"statement": near.statement, "tests": near.tests}
        self._problems: list[Problem] = []
        self._indexes = {name: _index(least) for name, least in self._least.items()}

    def add(self, looks: _Looks) -> None:
        for name, sketch in looks.sketches.items():
            self._indexes[name].insert(len(self._problems), sketch)
        self._problems.append(looks.problem)

    def like(self, looks: _Looks) -> str:
        """Return the most similar problem, and how similar it is; empty where there is none."""
        found = []
        for name, sketch in looks.sketches.items():
            for number in self._indexes[name].query(sketch):
                similarity = _jaccard(looks.views[name], views_of(self._problems[number])[name])
                if similarity >= self._least[name]:
                    found.append((-similarity, number, name))
        if not found:
            return ""
        similarity, number, name = min(found)
        return f"{self._problems[number].id} ({name}: {-similarity:.2f})"


def _index(least: float) -> RMinHashLSH:
    """Return an index with as many rows a band, and so as few idle candidates, as leave a pair at the threshold all but
    sure to be a candidate."""
    rows = [rows for rows in _ROWS if 1 - (1 - least**rows) ** (_PERMUTATIONS // rows) >= _RECALL]
    return RMinHashLSH(threshold=least, num_perm=_PERMUTATIONS, num_bands=_PERMUTATIONS // max(rows, default=1))


def views_of(problem: Problem) -> dict[str, frozenset[str]]:
    """Return the two views: of the statement its words, three by three; of the tests each without the name of the
    function."""
    words = _words(problem)
    shingles = frozenset(" ".join(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1)))
    return {"statement": shingles, "tests": frozenset(_tests(problem))}


def _words(problem: Problem) -> list[str]:
    return _WORD.findall(problem.statement.lower())


def _tests(problem: Problem) -> list[str]:
    """Return the tests without the name of the function; a call and what it must return look alike in all kinds of
    tests."""
    if problem.tests[0].kind == "answer":
        return []  # many problems have the same number for an answer
    if problem.tests[0].kind == "stdin":
        return [f"{_trimmed(test.input)}\0{_trimmed(test.expected)}" for test in problem.tests]
    if problem.tests[0].kind == "call":
        return [_asked(wire.loads(test.input), {}, wire.loads(test.expected)) for test in problem.tests]
    sources = [source for test in problem.tests for source in _assertions(test.input, problem.entry_point)]
    nameless = replace(problem, entry_point=_NAME, tests=tuple(TestCase("assert", source) for source in sources))
    return [
        _asked(step.arguments, step.keywords, step.want.value)
        if isinstance(step, Call) and step.want.operator == "=="
        else source
        for source, step in zip(sources, steps_of(nameless), strict=True)
    ]


def _asked(arguments: Any, keywords: Any, answer: Any) -> str:
    return repr((list(arguments), keywords, answer))


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _assertions(source: str, entry: str) -> list[str]:
    """Return the assertions that call the entry point, wherever they stand (HumanEval's are in `check(candidate)`)."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [source]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in (entry, "candidate"):
            node.id = _NAME
    found = [ast.unparse(node.test) for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    return [f"assert {claim}" for claim in found if f"{_NAME}(" in claim]


def _ngrams(problem: Problem) -> set[tuple[str, ...]]:
    words = _words(problem)
    return {tuple(words[at : at + _NGRAM]) for at in range(len(words) - _NGRAM + 1)}


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
