"""`make demo` killed and started again. A graph of quick stages, everything else real."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.states import Completed, Failed

from flows.local import left_over, show
from tests.pipeline.projects import calls, run

LOCAL = [sys.executable, "-m", "flows.local", "--experiment", "smoke"]


def test_killed_at_once_it_leaves_nothing_running_and_started_again_it_goes_on(quick: Path) -> None:
    mood = quick / "moods" / "rl@short"
    mood.write_text("wait")
    local = subprocess.Popen(LOCAL, cwd=quick, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until(lambda: mood.read_text().isdigit() or local.poll() is not None)
    assert local.poll() is None, local.communicate()[0].decode()
    stage, mark = psutil.Process(int(mood.read_text())), str(quick / ".runs" / "prefect")
    assert len(left_over(mark)) > 4, "the server, the worker, the flow, dvc and the stage"
    busy = run(LOCAL, quick, check=False)
    assert (busy.returncode, "already running" in busy.stdout) == (2, True), busy.stdout

    local.send_signal(signal.SIGKILL)
    until(lambda: not left_over(mark))
    until(lambda: ended(stage))

    mood.unlink()
    (quick / "moods" / "report").write_text("fail")
    again = run(LOCAL, quick, check=False)
    assert calls(quick) == ["curate@problems", "rl@short", "rl@short", "rl@long", "report"]
    assert again.returncode == 2
    assert "reforge: Stage report failed: a planted failure." in again.stdout
    assert "Traceback" not in again.stdout
    assert not left_over(mark)


def test_success_prints_the_table_and_what_to_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "table.md").write_text("| pass@1 |\n")
    assert show(tmp_path, Completed(), 60) == 0
    said = capsys.readouterr().out
    assert "| pass@1 |" in said
    assert str(tmp_path / "report" / "report.html") in said


@pytest.mark.parametrize(("message", "code"), [("x: UserError: wrong", 2), ("x: InfrastructureError: away", 75)])
def test_the_exit_code_says_whose_failure_it_was(tmp_path: Path, message: str, code: int) -> None:
    state: Any = Failed(message=message)
    assert show(tmp_path, state, 60) == code


def test_an_older_report_is_not_shown_as_what_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "table.md").write_text("| pass@1 |\n")
    monkeypatch.setattr("flows.local.report_is_current", lambda: False)
    assert show(tmp_path, Completed(), 60, ["rl@long"]) == 0
    said = capsys.readouterr().out
    assert "pass@1" not in said
    assert "rl@long with all that it needs" in said
    assert "dvc repro" in said
    monkeypatch.setattr("flows.local.report_is_current", lambda: True)
    show(tmp_path, Completed(), 60, ["rl@long"])
    assert "pass@1" in capsys.readouterr().out
    show(tmp_path, Completed(), 60, ["report"])
    assert "pass@1" in capsys.readouterr().out


def test_a_stage_that_there_is_not_is_told_before_anything_starts(quick: Path) -> None:
    done = run([*LOCAL, "--target", "rl@longer"], quick, check=False)
    assert (done.returncode, "There is no stage rl@longer; dvc.yaml has " in done.stdout) == (2, True), done.stdout
    assert not (quick / ".runs" / "prefect").exists()


def test_a_misspelt_key_is_told_before_anything_starts(quick: Path) -> None:
    done = run([*LOCAL, "rl.*.learning_rat=1"], quick, check=False)
    assert done.returncode == 2
    assert "learning_rate" in done.stdout
    assert not (quick / ".runs" / "prefect").exists()


def ended(process: psutil.Process) -> bool:
    """A zombie has ended too: it only waits for whoever inherited it to take note."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(condition: Callable[[], bool], seconds: float = 1200.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
