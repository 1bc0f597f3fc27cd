"""What is printed as the next thing to type works as it is, from the shell that the user is in."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows.local import NEXT
from reforge.config.params import HEADER
from reforge.machine.project import command
from tests.conftest import ROOT

BARE = "/usr/bin:/bin"
BIN = Path(sys.executable).parent
TYPED = re.compile(
    r"(?<![\w./-])(reforge (compose|stage|gc|sync|doctor|why|ui|table|replay)|dvc (repro|dag)|make (demo|ui))\b"
)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with its environment in .venv, not activated, and a folder below that the user is in."""
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    (tmp_path / "Makefile").write_text("ui:\n\t@echo shown\n")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", "reforge", "dvc", "activate"):
        (tmp_path / ".venv/bin" / name).write_text('#!/bin/sh\necho "$0"\n')
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    (tmp_path / ".venv/bin/activate").write_text(f"PATH={tmp_path}/.venv/bin:$PATH\n")
    (tmp_path / "below").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setenv("REFORGE_SHELL_PATH", BARE)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "root", "below"),
    [
        ("reforge gc --yes", ".venv/bin/reforge gc --yes", "../.venv/bin/reforge gc --yes"),
        ("dvc repro sft", ". .venv/bin/activate && dvc repro sft", "cd .. && . .venv/bin/activate && dvc repro sft"),
        ("make ui", "make ui", "make -C .. ui"),
    ],
)
def test_a_command_is_one_for_the_shell_it_is_shown_in(
    clone: Path, monkeypatch: pytest.MonkeyPatch, words: str, root: str, below: str
) -> None:
    for folder, typed in ((clone, root), (clone / "below", below)):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("REFORGE_SHELL_FOLDER", str(folder))
        assert command(words) == typed
        done = subprocess.run(typed, shell=True, env={"PATH": BARE}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    monkeypatch.setenv("REFORGE_SHELL_PATH", f"{clone}/.venv/bin:{BARE}")
    monkeypatch.setenv("REFORGE_SHELL_FOLDER", str(clone))
    assert command(words) == words


def typed_plainly(source: str) -> list[str]:
    """Texts that a program shows with a command in them which `command` has not seen."""
    tree, seen = ast.parse(source), set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "command":
            seen |= set(ast.walk(node))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            seen.add(node.value)  # a docstring
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("Option", "Argument", "Typer"):
            seen |= set(ast.walk(node))  # help
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in seen]
    texts = [node for node in constants if isinstance(node.value, str)]
    return [node.value for node in texts if TYPED.search(node.value) and node.value not in (HEADER, *NEXT)]


def test_no_text_names_a_command_that_the_shell_may_not_find() -> None:
    found = {}
    for path in [*(ROOT / "src/reforge").rglob("*.py"), *(ROOT / "flows").glob("*.py")]:
        if path.name != "environment.py" and (texts := typed_plainly(path.read_text())):
            found[str(path.relative_to(ROOT))] = texts
    assert found == {}
    assert typed_plainly('raise UserError("Make it with: dvc repro")') == ["Make it with: dvc repro"]
    assert typed_plainly("raise UserError(f\"{command('dvc repro')}\")") == []


def test_a_program_of_this_environment_is_found_where_it_is_not_activated(project: Path) -> None:
    bare = {**os.environ, "PATH": BARE, "REFORGE_SHELL_PATH": BARE}
    done = subprocess.run([BIN / "reforge", "table"], env=bare, capture_output=True, text=True)
    typed = done.stderr.partition("Make it with: ")[2].strip()
    assert typed.startswith(". ")
    assert typed.endswith("bin/activate && dvc repro report")
    assert Path(typed.split()[1]).is_file()
