"""The steps of curation that look at one problem at a time, before anything is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

from reforge.config.problems import Curate, ProblemSource
from reforge.problems.funnel import Entry, Quarantined
from reforge.records import Problem

_SURE = 0.5  # below this probability a statement, which may be mostly code, counts as any language


def passing(entries: Sequence[Entry], reason: Callable[[Entry], str]) -> tuple[list[Entry], list[Quarantined]]:
    """Return the entries for which `reason` gives none, and the others, quarantined with the reason."""
    kept, left_out = list[Entry](), list[Quarantined]()
    for entry in entries:
        if why := reason(entry):
            left_out.append(entry.out(why))
        else:
            kept.append(entry)
    return kept, left_out


def outside(problem: Problem, source: ProblemSource) -> str:
    """Return why a problem does not belong to the days that are read of its source; empty where it does."""
    if not (source.after or source.before):
        return ""
    if not problem.date:
        return "no date: the source is read by dates"
    if source.after and problem.date < source.after:
        return f"too early: {problem.date} is before {source.after}"
    if source.before and problem.date >= source.before:
        return f"too late: {problem.date} is not before {source.before}"
    return ""


def unsuitable(problem: Problem, config: Curate) -> str:
    """Return what is wrong with a statement that is in a language not wanted, or too short or too long to learn from;
    empty where nothing is."""
    least, most = config.statement_characters
    size = len(problem.statement.strip())
    if not least <= size <= most:
        return f"statement length: {size:,} characters, not {least:,} to {most:,}"
    if config.languages:
        language, probability = _identifier().classify(problem.statement)
        if language not in config.languages and probability >= _SURE:
            return f"other language: {language}"
    return ""


def badly_tested(problem: Problem, least: int) -> str:
    """Return what is wrong with the tests: fewer different ones than `least`, or two that no program can pass together;
    empty where nothing is."""
    tests = dict.fromkeys(problem.tests)
    if len(tests) < least:
        return f"too few tests: {len(tests)} of {least}"
    answers: dict[str, str] = {}
    for test in tests:
        if answers.setdefault(test.input, test.expected) != test.expected and problem.checker.rule != "program":
            return f"contradictory tests: two answers to {test.input[:60]!r}"
    return ""


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
