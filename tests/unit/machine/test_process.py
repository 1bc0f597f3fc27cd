"""One process per stage, and gone with whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from reforge.errors import UserError
from reforge.machine import process

HOLD = "import sys, time; from pathlib import Path; from reforge.machine.process import exclusive\n"


def test_the_holder_is_named_and_a_dead_one_does_not_matter(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    program = HOLD + "with exclusive(Path(sys.argv[1]), 'x'):\n    print('held', flush=True)\n    time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(UserError, match=f"Stage 'sft' is already running as process {holder.pid} "),
        process.exclusive(lock, "Stage 'sft'", patience=0.0),
    ):
        pass
    holder.kill()
    with process.exclusive(lock, "Stage 'sft'"):  # it may still be dying: we wait
        assert lock.read_text() == str(os.getpid())
    holder.wait()


def test_an_orphaned_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    """What a sandbox worker would do that outlives its stage; with flock the next run would wait for it."""
    program = HOLD + (
        "import os\nwith exclusive(Path(sys.argv[1]), 'x'):\n"
        "    child = os.fork()\n"
        "    if child == 0: time.sleep(60); os._exit(0)\n"
        "    print(child, flush=True)\n    os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    orphan = psutil.Process(int(holder.stdout.readline()))
    holder.wait()
    try:
        assert orphan.is_running()
        with process.exclusive(tmp_path / "lock", "x", patience=5.0):
            pass
    finally:
        orphan.kill()


WATCHED = """
import time
from reforge.machine.process import *
stop_cleanly_on_sigterm(); die_with_conductor(0.05); time.sleep(60)
"""


@pytest.mark.parametrize(("conductor", "dies"), [("make", True), ("conduct", False)])
def test_the_death_of_a_conductor_and_of_nobody_else_ends_the_process(
    tmp_path: Path, conductor: str, dies: bool
) -> None:
    """The planted difference: under a parent of another name (a login shell, say) the process lives on."""
    script = tmp_path / conductor
    script.write_text(
        f"import subprocess, sys, time\np = subprocess.Popen([sys.executable, '-c', {WATCHED!r}])\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    started_watching(child)
    parent.kill()
    parent.wait()
    try:
        if dies:
            child.wait(timeout=600)
        else:
            with pytest.raises(psutil.TimeoutExpired):
                child.wait(timeout=1)
    except psutil.NoSuchProcess:
        assert dies
    finally:
        if child.is_running():
            child.kill()


def started_watching(child: psutil.Process) -> None:
    """Python has started and run the imports: it sleeps with at least one thread, in our code."""
    for _ in range(600):
        if child.num_threads() >= 1 and child.cpu_times().user > 0 and child.status() == psutil.STATUS_SLEEPING:
            break
        time.sleep(0.05)
    time.sleep(0.5)
