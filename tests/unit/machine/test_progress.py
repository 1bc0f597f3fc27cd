"""A log file gets whole lines, one in fifteen seconds; a terminal a bar."""

from __future__ import annotations

import pytest

from reforge.machine import progress


def test_a_file_gets_whole_lines_now_and_then_and_the_last_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(100_000))
    monkeypatch.delenv(progress.TERMINAL, raising=False)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.bar(total=40, desc="sft", mininterval=0) as bar:
        for step in range(40):
            bar.set_postfix(loss=step)
            bar.update()
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    assert lines[0].startswith("sft:   0%")
    assert lines[-1].startswith("sft: 100%")
    assert 3 <= len(lines) < 20


def test_a_terminal_gets_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(progress.TERMINAL, "tty")
    list(progress.bar(range(3), desc="sft"))
    assert "\r" in capsys.readouterr().err
