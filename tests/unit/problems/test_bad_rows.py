"""Rows that are none: each costs itself alone, and is left out with its source, its line and a reason."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.config.problems import ProblemSource
from reforge.problems import adapters
from reforge.problems.adapters import UnusableRow, adapt
from reforge.problems.source import Row, snapshot
from reforge.records import Problem

GOOD: dict[str, Any] = {
    "task_id": 1,
    "text": "Write a function to square a number.",
    "code": "def square(x):\n    return x * x",
    "test_list": ["assert square(2) == 4", "assert square(3) == 9"],
    "test_setup_code": "",
}
OWN: dict[str, Any] = {
    "id": "p",
    "statement": "Say it again.",
    "solution": "print(input())",
    "tests": [{"kind": "stdin", "input": "a", "expected": "a"}],
}
TACO: dict[str, Any] = {
    "question": "Add.",
    "url": "u",
    "solutions": '["print(sum(map(int, input().split())))"]',
    "input_output": '{"inputs": ["1 2"], "outputs": ["3"]}',
}


def line(change: dict[str, Any], row: dict[str, Any] = GOOD) -> bytes:
    return json.dumps({**row, **change}).encode()


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD.items() if name != key}).encode()


NESTED = "[" * 900 + "]" * 900
# What is wrong → the bytes of the line, how its reason begins, and the adapter where it is not MBPP's.
BAD: dict[str, tuple[bytes, str] | tuple[bytes, str, str]] = {
    "cut short": (line({})[:-7], "not JSON"),
    "two objects": (line({}) + line({}), "not JSON"),
    "single quotes": (b"{'task_id': 1}", "not JSON"),
    "a trailing comma": (b'{"task_id": 1,}', "not JSON"),
    "plain words": (b"hello world", "not JSON"),
    "invalid UTF-8": (b'{"task_id": 1, "text": "\xff\xfe"}', "not UTF-8"),
    "Latin-1": ('{"text": "für"}'.encode("latin-1"), "not UTF-8"),
    "UTF-16": (line({}).decode().encode("utf-16-le").replace(b"\n", b""), "not JSON"),
    "UTF-8 and Latin-1 mixed": ('{"text": "für '.encode() + 'für"}'.encode("latin-1"), "not UTF-8"),
    "a NUL byte": (b'{"text": "\x00"}', "not JSON"),
    "half a surrogate pair": (line({"text": "\ud800 is half"}), "no text: statement holds half a surrogate"),
    "a NUL character in the statement": (line({"text": "a\0b"}), "no text: statement holds a NUL"),
    "a NUL character in the program": (line({"code": "\0"}), "not Python"),
    "nested too deep": (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
    "an integer without end": (b'{"task_id": ' + b"9" * 5000 + b"}", "not JSON"),
    "a list": (b"[1, 2]", "not an object"),
    "a number": (b"7", "not an object"),
    "null": (b"null", "not an object"),
    "a text": (b'"row"', "not an object"),
    "an empty object": (b"{}", "no tests: test_list is missing"),
    "no statement": (without("text"), "missing field: text"),
    "no program": (without("code"), "missing field: code"),
    "no id": (without("task_id"), "missing field: task_id"),
    "no tests": (without("test_list"), "no tests"),
    "an empty list of tests": (line({"test_list": []}), "no tests"),
    "tests as a text of JSON": (line({"test_list": json.dumps(GOOD["test_list"])}), "wrong type: test_list"),
    "tests as an object": (line({"test_list": {"a": 1}}), "wrong type: test_list"),
    "a test that is a number": (line({"test_list": [1]}), "wrong type: test_list"),
    "an empty test": (line({"test_list": [" "]}), "empty field: test_list"),
    "a test that does not parse": (line({"test_list": ["assert ("]}), "not Python: the test"),
    "a test that calls nothing": (line({"test_list": ["assert True"]}), "no entry point"),
    "an id of another type": (line({"task_id": "one"}), "wrong type: task_id"),
    "an id that is true": (line({"task_id": True}), "wrong type: task_id"),
    "an id that is NaN": (b'{"task_id": NaN}', "no tests"),
    "a statement that is a list": (line({"text": ["a"]}), "wrong type: text"),
    "an empty statement": (line({"text": " \n"}), "empty field: text"),
    "a program that does not parse": (line({"code": "def f(:"}), "not Python: the solution"),
    "a program nested too deep": (line({"code": f"x = {NESTED}"}), "not Python: the solution"),
    "imports that are a number": (line({"test_imports": 7}), "unreadable: its fields are not those of mbpp"),
    "the same id again": (line({"task_id": 1_000_001}), "duplicate id"),
    "our format, a misspelt kind of test": (
        line({"tests": [{"kind": "stdout", "input": "a"}]}, OWN), "wrong value: tests.0.kind", "reforge",
    ),
    "our format, tests of two kinds": (
        line({"tests": [*OWN["tests"], {"kind": "call", "input": "[1]", "expected": "1"}], "entry_point": "f"}, OWN),
        "broken tests: Problem 'p' has tests of the kinds call, stdin", "reforge",
    ),
    "our format, calls of nothing": (
        line({"tests": [{"kind": "call", "input": "[1]", "expected": "1"}]}, OWN), "broken tests", "reforge",
    ),
    "our format, arguments that are no JSON": (
        line({"tests": [{"kind": "call", "input": "1,", "expected": "1"}], "entry_point": "f"}, OWN), "broken tests",
        "reforge",
    ),
    "our format, a file outside the folder": (line({"files": {"../x": "y"}}, OWN), "broken tests", "reforge"),
    "our format, a checker without a program": (
        line({"checker": {"rule": "program"}}, OWN), "broken tests", "reforge",
    ),
    "our format, a date that is none": (line({"date": "tomorrow"}, OWN), "no date", "reforge"),
    "TACO, tests that are no JSON": (line({"input_output": "{'inputs': []}"}, TACO), "not JSON", "taco"),
    "TACO, fewer answers than questions": (
        line({"input_output": '{"inputs": ["1", "2"], "outputs": ["3"]}'}, TACO), "broken tests", "taco",
    ),
    "TACO, a date beyond all dates": (line({"date": 1e300}, TACO), "unreadable", "taco"),
}  # fmt: skip


def read(path: Path, adapter: Any = "mbpp") -> tuple[list[Problem], list[tuple[int, str]]]:
    """The problems of a file, and the line and reason of each other row, as the curate stage takes them."""
    kept, left_out, seen = [], [], set[str]()
    for row in snapshot(ProblemSource(adapter=adapter, path=str(path)), path.parent / "raw"):
        try:
            if row.broken:
                raise UnusableRow(row.broken)
            problem = adapt(adapter, row.value)
            if problem.id in seen:
                raise UnusableRow("duplicate id: seen before")
            seen.add(problem.id)
            kept.append(problem)
        except UnusableRow as reason:
            left_out.append((row.line, str(reason)))
    return kept, left_out


def test_there_are_forty_kinds() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("what", BAD)
def test_a_bad_row_between_good_ones(tmp_path: Path, what: str) -> None:
    bad, reason, *other = BAD[what]
    adapter = other[0] if other else "mbpp"
    first, last = ("id", "q") if adapter == "reforge" else ("url", "v") if adapter == "taco" else ("task_id", 1_000_001)
    row = {"mbpp": GOOD, "reforge": OWN, "taco": TACO}[adapter]
    good = [line({first: f"{last}0" if isinstance(last, str) else last}, row), line({first: last}, row)]
    good[1] = line({first: f"{last}1" if isinstance(last, str) else last + 1}, row)
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join([good[0], bad, good[1]]) + b"\n")
    kept, left_out = read(tmp_path / "rows.jsonl", adapter)
    assert len(kept) == 2
    ((at, why),) = left_out
    assert (at, why[: len(reason)]) == (2, reason)
    assert "\n" not in why


def test_a_huge_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "_LARGEST", 1000)
    (tmp_path / "rows.jsonl").write_bytes(line({"text": "long " * 500}) + b"\n" + line({}))
    kept, ((at, why),) = read(tmp_path / "rows.jsonl")
    assert (len(kept), at, why) == (1, 1, "huge: more than 1,000 characters, at statement")


def test_a_structure_that_holds_itself() -> None:
    row = dict(GOOD)
    row["test_list"] = row["code"] = [row]
    with pytest.raises(UnusableRow, match=r"^(wrong type: (code|test_list)|unreadable)"):
        adapt("mbpp", row)
    inputs: list[Any] = []
    inputs.append(inputs)
    calls = {"fn_name": "f", "inputs": inputs, "outputs": [1]}
    with pytest.raises(UnusableRow, match=r"^(unreadable|broken tests)"):
        adapt("taco", {**TACO, "input_output": calls})


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def parquet(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "gzip cut short",
            lambda: cut(gzip.compress(b"\n".join(line({"text": str(n)}) for n in range(99)))),
            "unreada",
        ),
        ("gzip with a flipped byte", lambda: gzip.compress(line({}))[:-5] + b"\0\0\0\0\0", "unreadable: not a whole"),
        ("no gzip", lambda: line({}), "unreadable: not a whole gzip"),
        ("an empty gzip", lambda: b"", ""),
    ],
)
def test_files_of_gzip(tmp_path: Path, name: str, content: Callable[[], bytes], reason: str) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(content())
    _, left_out = read(tmp_path / "rows.jsonl.gz")
    assert bool(left_out) == bool(reason)
    assert not left_out or left_out[-1][1].startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: cut(parquet([GOOD])), "unreadable: not Parquet from row 1 on"),
        (lambda: b"PAR1" + b"\0" * 50 + b"PAR1", "unreadable: not Parquet"),
        (lambda: parquet([{**GOOD, "text": 5}]), "wrong type: text is not text but int"),
        (lambda: parquet([{**GOOD, "code": b"\xff"}]), "wrong type: code is not text but bytes"),
        (lambda: parquet([{"other": 1}]), "no tests: test_list is missing"),
    ],
)
def test_files_of_parquet(tmp_path: Path, content: Callable[[], bytes], reason: str) -> None:
    (tmp_path / "rows.parquet").write_bytes(content())
    kept, ((at, why),) = read(tmp_path / "rows.parquet")
    assert (kept, at, why[: len(reason)]) == ([], 1, reason)


def test_text_in_parquet_that_is_no_utf8(tmp_path: Path) -> None:
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    pq.write_table(pa.table({"text": bad}), tmp_path / "rows.parquet")
    kept, ((at, why),) = read(tmp_path / "rows.parquet")
    assert (kept, at) == ([], 1)
    assert why.startswith("unreadable: not Parquet from row 1 on")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["[]", "{}", "[1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted(
    {"id", "task_id", "text", "prompt", "code", "test_list", "test", "entry_point", "question", "solutions", "url"}
    | {"input_output", "verification_info", "gold_standard_solution", "problem_id", "public_tests", "private_tests"}
    | {"name", "description", "official_tests", "official_tests_complete", "title", "examples", "rating", "metadata"}
    | {"public_test_cases", "private_test_cases", "question_content", "starter_code", "statement", "tests", "checker"}
    | {"canonical_solution", "completion", "problem_description", "estimated_date", "date", "difficulty", "cf_rating"}
)


@given(st.sampled_from(sorted(adapters._ADAPTERS)), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=12))
def test_no_row_of_any_kind_breaks_an_adapter(adapter: str, row: dict[str, Any]) -> None:
    with contextlib.suppress(UnusableRow):
        assert isinstance(adapt(adapter, row), Problem)


def test_a_row_says_where_it_stood(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\n\n" + line({}) + b"\n\nnonsense\n")
    rows = list(snapshot(ProblemSource(adapter="mbpp", path=str(tmp_path / "rows.jsonl")), tmp_path / "raw"))
    assert [(row.line, bool(row.broken)) for row in rows] == [(3, False), (5, True)]
    assert rows[0] == Row(3, GOOD)
