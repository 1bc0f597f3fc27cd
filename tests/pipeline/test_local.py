"""`make demo` killed and started again. A graph of quick stages, everything else real."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.local import left_over
from tests.pipeline.projects import calls, run

pytestmark = pytest.mark.timeout(600)
LOCAL = [sys.executable, "-m", "flows.local", "--experiment", "smoke"]


def test_killed_at_once_it_leaves_nothing_running_and_started_again_it_goes_on(quick: Path) -> None:
    mood = quick / "moods" / "rl@16k"
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
    assert not stage.is_running()

    mood.unlink()
    again = run(LOCAL, quick)
    assert calls(quick) == ["curate", "rl@16k", "rl@16k", "rl@32k", "report"]
    assert "| report |" in again.stdout
    assert "report.html" in again.stdout

    (quick / "quick.py").write_text((quick / "quick.py").read_text() + "# changed\n")
    (quick / "moods" / "curate").write_text("fail")
    failed = run(LOCAL, quick, check=False)
    assert failed.returncode == 1
    assert "reforge: Stage curate failed: a planted failure." in failed.stdout
    assert "Traceback" not in failed.stdout
    assert not left_over(mark)


def test_a_misspelt_key_is_told_before_anything_starts(quick: Path) -> None:
    done = run([*LOCAL, "rl.learning_rat=1"], quick, check=False)
    assert done.returncode == 2
    assert "learning_rate" in done.stdout
    assert not (quick / ".runs" / "prefect").exists()


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
