"""Adapters of sets of contest problems: TACO, APPS, SYNTHETIC-1, CodeContests, Codeforces, LiveCodeBench. Their
programs read stdin, or define a function whose name the set gives; that name goes along with the tests (DeepCoder's
code lost it)."""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reforge.problems.adapters.fields import UnusableRow, day, digest, items, level, number, record, text, unpacked
from reforge.records import Checker, Problem, TestCase
from reforge.sandbox import wire

_CALL_BYTES = 1 << 24  # the most bytes of one test's arguments or answer
_PYTHON3 = 3
_TACO = ("easy", "medium", "medium_hard", "hard", "very_hard")
_APPS = ("introductory", "interview", "competition")
_LCB = ("easy", "medium", "hard")
_FENCED = re.compile(r"```(?:python|py)?3?\s*\n(.*?)```", re.DOTALL)
_JUDGED_BY_FILES = '''
def check(given, expected, printed):
    """The published checker reads three files named on its command line and prints its points."""
    import contextlib, io, sys
    for name, content in (("input.txt", given), ("correct_output.txt", expected), ("solution_output.txt", printed)):
        with open(name, "w") as file:
            file.write(content)
    sys.argv = ["checker.py", "input.txt", "correct_output.txt", "solution_output.txt"]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(SOURCE, "checker.py", "exec"), {"__name__": "__main__"})
    except SystemExit:
        pass
    return float(said.getvalue().split()[-1]) >= 1.0
'''


def taco(row: Mapping[str, Any]) -> Problem:
    """Read a row of TACO or TACO-verified (BAAI, likaixin). They number no rows: the name or the address tells problems
    apart."""
    name = str(row.get("url") or row.get("name") or "") or digest(text(row, "question"))
    return replace(_apps_like(row, f"taco/{name}", text(row, "question")), difficulty=level(row, "difficulty", _TACO))


def apps(row: Mapping[str, Any]) -> Problem:
    identity = row.get("problem_id", row.get("id"))
    name = f"apps/{number({'problem_id': identity}, 'problem_id')}"
    return replace(_apps_like(row, name, text(row, "question")), difficulty=level(row, "difficulty", _APPS))


def _apps_like(row: Mapping[str, Any], name: str, statement: str) -> Problem:
    """Read a row in the form of APPS: `input_output` is {inputs, outputs, fn_name?}; `solutions` a list of programs,
    each possibly wrong."""
    tests = unpacked(row, "input_output")
    if not isinstance(tests, Mapping):
        raise UnusableRow("wrong type: input_output is not an object")
    pairs = list(zip(items(tests, "inputs"), items(tests, "outputs"), strict=False))
    if len(tests["inputs"]) != len(tests["outputs"]):
        raise UnusableRow(f"broken tests: {len(tests['inputs'])} inputs for {len(tests['outputs'])} outputs")
    starter = text(row, "starter_code", empty=True) if row.get("starter_code") else ""
    function = str(tests.get("fn_name") or "")
    return _problem(
        name,
        f"{statement}\n\nComplete this:\n\n{starter}" if starter.strip() else statement,
        _programs(unpacked(row, "solutions")),
        _calls(pairs) if function else [_printed(*pair) for pair in pairs],
        entry_point=function,
        date=day(row, "date"),
    )


def synthetic1(row: Mapping[str, Any]) -> Problem:
    """Read a row of PrimeIntellect's verifiable-coding-problems. Only Python with a fenced reference is kept
    (DeepCoder's conditions)."""
    info = unpacked(row, "verification_info")
    if not isinstance(info, Mapping):
        raise UnusableRow("wrong type: verification_info is not an object")
    language = str(info.get("language", "python")).lower()
    if language not in ("python", "python3"):
        raise UnusableRow(f"other language: {language}")
    fenced = _FENCED.search(text(row, "gold_standard_solution"))
    if fenced is None:
        raise UnusableRow("no reference: gold_standard_solution has no fenced program")
    cases = [case for case in items(info, "test_cases") if isinstance(case, Mapping)]
    functions = {str(case.get("fn_name") or "") for case in cases}
    if len(functions) != 1:
        raise UnusableRow(f"broken tests: they call {len(functions)} different functions")
    pairs = [(case.get("input"), case.get("output")) for case in cases]
    (function,) = functions
    name = f"synthetic1/{text(row, 'problem_id')}"
    tests = _calls(pairs) if function else [_printed(*pair) for pair in pairs]
    return _problem(name, text(row, "prompt"), [fenced[1]], tests, entry_point=function)


def code_contests(row: Mapping[str, Any]) -> Problem:
    """Read a row of DeepMind's CodeContests: tests of three origins go into one list, and only references in Python 3
    are kept."""
    tests = []
    for part in ("public_tests", "private_tests", "generated_tests"):
        if row.get(part):
            found = record(row, part)
            tests += [_printed(*pair) for pair in zip(items(found, "input"), items(found, "output"), strict=True)]
    references = record(row, "solutions")
    pairs = zip(items(references, "language"), items(references, "solution"), strict=True)
    solutions = [source for language, source in pairs if language == _PYTHON3]
    if row.get("input_file") or row.get("output_file"):
        raise UnusableRow("reads files: input_file or output_file is named")
    name, rating = f"code_contests/{text(row, 'name')}", row.get("cf_rating")
    difficulty = rating if isinstance(rating, int) else 0
    return _problem(name, text(row, "description"), _programs(solutions), tests, difficulty=difficulty)


def codeforces(row: Mapping[str, Any]) -> Problem:
    """Read a row of open-r1/codeforces: official tests, which must be complete, and a checker program where several
    answers count. It has no references of its own: `solution` may be joined to the row."""
    if row.get("input_mode") not in (None, "stdio"):
        raise UnusableRow(f"reads files: input_mode is {row['input_mode']!r}")
    if row.get("interaction_format"):
        raise UnusableRow("interactive: the program would have to talk with a judge")
    if not row.get("official_tests_complete"):
        raise UnusableRow("incomplete tests: a test of the contest is missing or cut short")
    cases = [case for case in items(row, "official_tests") if isinstance(case, Mapping)]
    parts = [("", "description"), ("Input", "input_format"), ("Output", "output_format"), ("Note", "note")]
    said = [f"{title}\n\n{row[key]}".strip() for title, key in parts if row.get(key)]
    examples = [case for case in row.get("examples") or [] if isinstance(case, Mapping)]
    said += [f"Example\n\n{case.get('input')}\n\nanswers\n\n{case.get('output')}" for case in examples]
    source = str(row.get("generated_checker") or "")
    checker = Checker("program", source=f"SOURCE = {source!r}\n{_JUDGED_BY_FILES}") if source else Checker()
    return _problem(
        f"codeforces/{text(row, 'id')}",
        "\n\n".join([text(row, "title"), *said]),
        [str(row.get("solution") or "")],
        [_printed(case.get("input"), case.get("output")) for case in cases],
        checker=checker,
        difficulty=number(row, "rating") if row.get("rating") is not None else 0,
        date=day(row, "contest_start"),
    )


def livecodebench(row: Mapping[str, Any]) -> Problem:
    """Read a row of code_generation_lite, which has no references and is for evaluation. Its private tests are JSON in
    a pickle in zlib in base64; the pickle is read without being executed."""
    public, private = unpacked(row, "public_test_cases"), _private(text(row, "private_test_cases"))
    cases = [case for case in [*public, *private] if isinstance(case, Mapping)]
    kinds = {case.get("testtype") for case in cases}
    statement, function = text(row, "question_content"), ""
    if kinds == {"functional"}:
        metadata = unpacked(row, "metadata")
        function = str(metadata.get("func_name") or "") if isinstance(metadata, Mapping) else ""
        if not function:
            raise UnusableRow("no entry point: metadata names no func_name")
        statement += f"\n\nComplete this:\n\n{text(row, 'starter_code')}"
        tests = [_lines_called(case) for case in cases]
    elif kinds == {"stdin"}:
        tests = [_printed(case.get("input"), case.get("output")) for case in cases]
    else:
        raise UnusableRow(f"broken tests: of the kinds {sorted(map(str, kinds))}")
    return _problem(
        f"livecodebench/{text(row, 'question_id')}",
        f"{text(row, 'question_title')}\n\n{statement}",
        [""],
        tests,
        entry_point=function,
        checker=Checker("lcb"),
        difficulty=level(row, "difficulty", _LCB),
        date=day(row, "contest_date"),
    )


def _private(packed: str) -> list[Any]:
    try:
        cases = json.loads(packed)
    except ValueError:
        try:
            pickled = zlib.decompress(base64.b64decode(packed, validate=True))
            texts = [value for _, value, _ in pickletools.genops(pickled) if isinstance(value, str)]
            cases = json.loads(max(texts, key=len))
        except (ValueError, binascii.Error, zlib.error) as error:
            raise UnusableRow(f"broken tests: private_test_cases cannot be unpacked, {error}") from error
    if not isinstance(cases, list):
        raise UnusableRow("broken tests: private_test_cases is no list")
    return cases


def _problem(name: str, statement: str, solutions: Sequence[str], tests: Sequence[TestCase], **more: Any) -> Problem:
    if not tests:
        raise UnusableRow("no tests: the lists of inputs and outputs are empty")
    first, *others = solutions
    return Problem(
        id=name,
        statement=statement,
        solution=first,
        alternatives=tuple(others),
        tests=tuple(dict.fromkeys(tests)),
        family=name,
        **more,
    )


def _programs(found: Any) -> list[str]:
    programs = [program for program in found if isinstance(program, str) and program.strip()] if found else []
    if not programs:
        raise UnusableRow("no reference: there is no solution in Python")
    return list(dict.fromkeys(programs))


def _printed(given: Any, expected: Any) -> TestCase:
    """Return a stdin test. Some rows hold lines instead of one text."""
    texts = ["\n".join(map(str, value)) if isinstance(value, list) else value for value in (given, expected)]
    if not all(isinstance(value, str) for value in texts):
        raise UnusableRow("broken tests: an input or output is no text")
    return TestCase("stdin", *texts)


def _calls(pairs: Sequence[tuple[Any, Any]]) -> list[TestCase]:
    """Return call tests, with arguments as a list. Where each answer is a list of one thing it is that thing, as APPS
    writes it. If that reads a set wrongly, its references fail and say so."""
    read = [(_json(given), _json(expected)) for given, expected in pairs]
    wrapped = all(isinstance(expected, list) and len(expected) == 1 for _, expected in read)
    tests = []
    for given, expected in read:
        if not isinstance(given, list):
            raise UnusableRow("broken tests: the arguments of a call are no list")
        tests.append(_call(given, expected[0] if wrapped else expected))
    return tests


def _json(value: Any) -> Any:
    """Return what a text holds as JSON, else the value itself: re-uploads turn lists into text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _lines_called(case: Mapping[str, Any]) -> TestCase:
    """Return a call test whose input has one argument a line, each as JSON."""
    try:
        arguments = [json.loads(line) for line in str(case.get("input")).split("\n") if line.strip()]
        return _call(arguments, json.loads(str(case.get("output"))))
    except ValueError as error:
        raise UnusableRow(f"broken tests: a call is not JSON, {error}") from error


def _call(arguments: list[Any], expected: Any) -> TestCase:
    return TestCase("call", wire.dumps(arguments, _CALL_BYTES), wire.dumps(expected, _CALL_BYTES))
