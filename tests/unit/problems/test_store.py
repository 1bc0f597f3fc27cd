"""What is written comes back equal, and equal problems make equal bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reforge.errors import UserError
from reforge.problems.funnel import Entry, Quarantined
from reforge.problems.store import (
    fate_of,
    read_problems,
    read_quarantined,
    write_origins,
    write_problems,
    write_quarantined,
)
from reforge.records import Problem, TestCase

PROBLEMS = [
    Problem(
        "a", "say ü\r\n", "pass", (TestCase("assert", "assert f()"), TestCase("call", "[1]", "2")), "f", "import re"
    ),
    Problem("b", "", "", (), thinking="hm", difficulty=3, family="x+y"),
]


@pytest.mark.parametrize("problems", [PROBLEMS, []])
def test_problems_come_back_and_bytes_repeat(tmp_path: Path, problems: list[Problem]) -> None:
    for name in ("one", "two"):
        write_problems(tmp_path / name / "train.parquet", problems)
    assert read_problems(tmp_path / "one/train.parquet") == problems
    assert (tmp_path / "one/train.parquet").read_bytes() == (tmp_path / "two/train.parquet").read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["train.parquet"]


@pytest.mark.parametrize("quarantined", [[Quarantined("a", "no tests: test_list is empty", "set", 7)], []])
def test_quarantined_come_back(tmp_path: Path, quarantined: list[Quarantined]) -> None:
    write_quarantined(tmp_path / "quarantined.parquet", quarantined)
    assert read_quarantined(tmp_path / "quarantined.parquet") == quarantined


def test_of_several_sets_it_is_said_in_which_of_them_a_problem_is(tmp_path: Path) -> None:
    """`a` is in both, `b` in one: that the other does not know it is no error."""
    folders = []
    for name, kept, out in (("first", PROBLEMS, []), ("second", PROBLEMS[1:], [Quarantined("a", "no tests", "s", 4)])):
        folder = tmp_path / name / "data"
        write_problems(folder / "train.parquet", kept)
        write_problems(folder / "heldout.parquet", [])
        write_quarantined(folder / "quarantined.parquet", out)
        write_origins(folder / "origins.parquet", [Entry("s", n, problem) for n, problem in enumerate(kept, 1)])
        folders.append(folder)
    assert fate_of(folders, "a") == [
        "first: a (s, line 1): kept for training",
        "second: a (s, line 4): left out. no tests",
    ]
    assert fate_of(folders, "s:2") == ["first: b (s, line 2): kept for training"]
    assert fate_of(folders[:1], "a") == ["a (s, line 1): kept for training"]
    with pytest.raises(UserError, match="'c' is in no source"):
        fate_of(folders, "c")


def test_a_file_that_is_missing_broken_or_of_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    with pytest.raises(UserError, match=r"train\.parquet is missing .*dvc checkout"):
        read_problems(path)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match="not a whole Parquet file"):
        read_problems(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(UserError, match=r"its columns are id\. Make it again with: .*dvc repro -f curate"):
        read_problems(path)
