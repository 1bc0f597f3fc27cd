"""`reforge judge` from the command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {"tests": [{"kind": "stdin", "input": "1 2", "expected": "0.333333333"}]}


def judge(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reforge.cli.main", "judge", *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests.json").write_text(json.dumps(TESTS))
    (tmp_path / "right.py").write_text("print(1 / 3)")
    (tmp_path / "wrong.py").write_text("print(1 / 4)")
    return tmp_path


def test_verdicts_and_exit_codes(folder: Path) -> None:
    done = judge(folder, "right.py", "--tests", "tests.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "AC"
    done = judge(folder, "wrong.py", "--tests", "tests.json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "WA"


def test_rules_side_by_side(folder: Path) -> None:
    done = judge(folder, "right.py", "--tests", "tests.json", "--checker", "tokens", "--checker", "lcb")
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(verdict["checker"], verdict["status"]) for verdict in verdicts] == [
        ("tokens(1e-06)/2", "AC"),
        ("lcb/2", "WA"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "the file: is not valid JSON: "),
        ("{}", "tests: is missing"),
        ('{"tests": []}', "tests: must have at least 1 of them, not 0"),
        ('{"tests": [{"kind": "stdin", "input": "", "inptu": ""}]}', "tests.0.inptu: is no key that there is"),
        ("[]", "the file: must be an object with keys"),
        ('{"tests": "x"}', "tests: must be a list"),
        ('{"tests": [5]}', "tests.0: must be an object with keys"),
        ('{"tests": [{"kind": "stdout", "input": ""}]}', "tests.0.kind: must be 'stdin', 'call'"),
        ('{"tests": [{"kind": "stdin", "input": 3}]}', "tests.0.input: must be text"),
        ("\x00", "the file: is not valid JSON: "),
        ("", "the file: is not valid JSON: "),
        ('{"tests": [{"kind": "call", "input": "[1]", "expected": "1"}]}', "no entry_point"),
    ],
)
def test_a_bad_file_of_tests_is_one_paragraph(folder: Path, content: str, said: str) -> None:
    (folder / "tests.json").write_text(content)
    done = judge(folder, "right.py", "--tests", "tests.json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("reforge: ")
    assert said in done.stderr


def test_broken_tests_are_no_verdict(folder: Path) -> None:
    broken = {"tests": [{"kind": "assert", "input": "assert f(1) == undefined("}], "entry_point": "f"}
    (folder / "tests.json").write_text(json.dumps(broken))
    (folder / "f.py").write_text("def f(x): return x")
    done = judge(folder, "f.py", "--tests", "tests.json")
    assert done.returncode == 75
    assert json.loads(done.stdout)["status"] == "BROKEN"


def test_settings_that_cannot_be(folder: Path) -> None:
    assert (
        "it is one of limits, syscalls"
        in judge(folder, "right.py", "--tests", "tests.json", "--minimum", "high").stderr
    )
    assert "no_such" in judge(folder, "right.py", "--tests", "tests.json", "--package", "no_such").stderr
    assert "--checker spam" in judge(folder, "right.py", "--tests", "tests.json", "--checker", "spam").stderr


def test_a_program_is_read_as_python_reads_it(folder: Path) -> None:
    (folder / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\nprint(1 / 3)")
    assert judge(folder, "latin.py", "--tests", "tests.json").returncode == 0
    (folder / "bytes.py").write_bytes(b"print('\xe9')")
    done = judge(folder, "bytes.py", "--tests", "tests.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bytes.py is not text that Python reads" in done.stderr


def test_a_port_in_use_is_told_before_anything_else(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = judge(project, "serve", "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be used" in done.stderr
    assert judge(project, "serve", "--port", "99999").returncode == 2


def test_serving_beyond_this_machine_needs_a_token(project: Path) -> None:
    done = judge(project, "serve", "--host", "0.0.0.0", REFORGE_JUDGE_TOKEN="")
    assert done.returncode == 2
    assert "REFORGE_JUDGE_TOKEN" in done.stderr
