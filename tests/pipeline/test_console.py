"""What a stage says reaches the terminal as it was meant and the Prefect log in whole lines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from flows.console import last_paragraph, relay
from flows.leash import leashed
from reforge.machine.progress import TERMINAL

BAR = b"loading\n\r 0%\r50%\r100%\n> reforge stage sft\ndone \xe2\x9c\x93"


def relayed(said: bytes, monkeypatch: pytest.MonkeyPatch, mode: str | None) -> tuple[list[str], list[str]]:
    monkeypatch.delenv(TERMINAL, raising=False)
    if mode:
        monkeypatch.setenv(TERMINAL, mode)
    reading, writing = os.pipe()
    os.write(writing, said)
    os.close(writing)
    log: list[str] = []
    with os.fdopen(reading, "rb") as stream:
        return relay(stream, log.append), log


@pytest.mark.parametrize("mode", [None, "plain", "tty"])
def test_the_log_has_whole_lines_and_of_a_bar_its_end(monkeypatch: pytest.MonkeyPatch, mode: str | None) -> None:
    lines, log = relayed(BAR, monkeypatch, mode)
    assert lines == log == ["loading", "100%", "> reforge stage sft", "done ✓"]


def test_nobody_at_the_terminal_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relayed(BAR, monkeypatch, None)
    assert capsys.readouterr().out == ""


def test_a_terminal_sees_the_bar_move_and_no_housekeeping(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relayed(BAR, monkeypatch, "tty")
    said = capsys.readouterr().out
    assert "50%" in said
    assert "reforge stage" not in said


def test_a_file_gets_the_bar_as_few_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    relayed(b"\r 0%" + b"\r50%" * 1000 + b"\r100%\n", monkeypatch, "plain")
    assert capsys.readouterr().out.splitlines() == [" 0%", "100%"]


def test_a_failure_is_told_in_reforges_own_paragraph_else_in_the_last_line() -> None:
    dvc = ["", "ERROR: failed to reproduce 'sft': failed to run: reforge stage sft, exited with 2"]
    assert last_paragraph(["noise", "reforge: No space. Free some.", "more noise", *dvc]) == "No space. Free some."
    assert last_paragraph(["Traceback (most recent call last):", "  File x", "ValueError: 3", *dvc]) == "ValueError: 3"
    assert last_paragraph([]) == ""


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """A server that a stage has started in a session of its own does not outlive the stage."""
    leave = (
        "import subprocess, sys; server = subprocess.Popen(['sleep', '300'], start_new_session=True);"
        "open(sys.argv[1], 'w').write(str(server.pid)); sys.exit(7)"
    )
    assert leashed([sys.executable, "-c", leave, str(tmp_path / "pid")]).wait(60) == 7
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
