"""Kill the processes of a run (`kill -9`), all or those of one part, at given moments, and start the run again until it
succeeds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows.stage import mend_rwlock
from reforge.machine.process import free_port

PATIENCE = 1200.0
MARK = "REFORGE_KILLS"  # in the environment of every process of a run


def _says(*words: str) -> Callable[[psutil.Process], bool]:
    return lambda process: all(any(word in part for part in process.cmdline()) for word in words)


PARTS: dict[str, Callable[[psutil.Process], bool]] = {
    "everything": lambda process: True,
    "stage": lambda process: "stage" in process.cmdline() and "RANK" not in process.environ(),
    "rank": lambda process: process.environ().get("RANK") == "1" and "stage" in process.cmdline(),
    "vllm": _says("reforge.rollouts.vllm_main"),
    "grader": _says("reforge.sandbox.inside.server"),
    "conductor": lambda process: (
        any(part.endswith(("dvc", "dvc/__main__.py")) for part in process.cmdline()[:3])
        or any("ProcessWorker" in part for part in process.cmdline())
    ),
    "mlflow": lambda process: False,  # a server of the campaign's own, not of the run
}


def disturbed(
    project: Path,
    command: Sequence[str],
    hits: Sequence[tuple[str, float]],
    turns: list[str],
    server: Server | None,
    seen: dict[str, float],
) -> list[dict[str, Any]]:
    """Run `command` until it succeeds, and kill part after part: one for each of `hits`, so long after its stage was
    seen to run. `seen` gets the seconds from a stage's first process to its last."""
    waiting, kills, first = list(hits), list[dict[str, Any]](), dict[str, float]()
    running, deadline = start(project, command), time.monotonic() + PATIENCE
    try:
        while running.poll() != 0:
            assert time.monotonic() < deadline, f"no end, see {project / 'log'}"
            if running.poll() is not None:
                mend_rwlock(project)  # as docs/retrace.md says
                running = start(project, command)
            stage = running_stage(project)
            if stage:
                seen[stage] = round(time.monotonic() - first.setdefault(stage, time.monotonic()), 1)
            due = next((one for one in waiting if one[0] == stage), None)
            if due is not None:
                waiting.remove(due)
                time.sleep(due[1])
                part = hit(project, due[0], turns, server)
                if part:
                    kills.append({"stage": due[0], "part": part})
                    deadline = time.monotonic() + PATIENCE
            time.sleep(0.1)
    finally:
        kill(project, PARTS["everything"])
    return kills


def hit(project: Path, stage: str, turns: list[str], server: Server | None) -> str:
    """Kill the next part whose turn it is and that is there, and return its name; empty if the stage has just ended, or
    if no part is there."""
    for place in range(len(turns) - 1, -1, -1):
        if running_stage(project) != stage:
            return ""
        part = turns[place]
        if part == "mlflow" and server is not None:
            server.restart()
        elif not kill(project, PARTS[part]):
            continue
        del turns[place]
        return part
    return ""


def kill(project: Path, wanted: Callable[[psutil.Process], bool]) -> bool:
    """Kill those of the run's processes that are `wanted`, and return whether there were any. A process that has ended
    before it could be looked at is none."""
    found = []
    for process in processes(project):
        with suppress(psutil.Error):
            if wanted(process):
                found.append(process)
    for process in found:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    return bool(found)


def processes(project: Path) -> set[psutil.Process]:
    """Return the marked processes and all below them: what the sandbox starts has an empty environment."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(project):
                found |= {process, *process.children(recursive=True)}
    return found


def running_stage(project: Path) -> str:
    """Return the name of the stage that runs; empty between two of them. Where Prefect runs several side by side, one
    of them."""
    for process in sorted(processes(project), key=lambda process: process.pid):
        with suppress(psutil.Error):
            *_, word, name = ["", "", *process.cmdline()]
            if word == "stage":
                return name
    return ""


def start(project: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (project / "log").open("ab") as log:
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        return subprocess.Popen(command, cwd=project, env=environment(project), start_new_session=True, **options)


def call(project: Path, *command: str) -> None:
    subprocess.run(command, cwd=project, env=environment(project), check=True, stdout=subprocess.DEVNULL)


def environment(project: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": f"{project / 'src'}:{project}", MARK: str(project)}


class Server:
    """The MLflow server, which a kill may hit."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self.process = self._start()
        while not self.answers():
            time.sleep(0.2)

    def answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.uri}/health").status_code == 200
        return False

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "mlartifacts"]
        with (self._folder / "mlflow.log").open("ab") as log:
            return subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True)

    def restart(self) -> None:
        self.stop()
        self.process = self._start()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def mlflow_server(project: Path) -> Iterator[Server]:
    server = Server(project)
    try:
        yield server
    finally:
        server.stop()
