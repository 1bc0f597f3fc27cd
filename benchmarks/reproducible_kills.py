"""`kill -9` at random moments of the whole road, of all its processes or of one part: what comes out in the end is what
comes out undisturbed, in all outputs and in MLflow.

    python -m benchmarks.reproducible_kills [--runs 4]

Every run is `smoke` with two ranks, one batch ahead, `strict`, with an MLflow server of its own; every second one goes
through Prefect (server, worker, deployment), the others through `dvc repro`. In each, every stage is hit once, at a
moment drawn from its undisturbed duration. Whoever the kill ended is started again by the same command.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.record import ROOT, Claim, claim, head, show, write
from reforge.process import free_port

GOAL, PATIENCE = 40, 1200.0
MARK = "REFORGE_KILLS"  # in the environment of every process of a run
COMPOSED = ["experiment=smoke", "learner.ranks=2", "learner.zero_stage=2"]
DOORS = {"dvc": ["-m", "dvc", "repro"], "prefect": ["-m", "flows.local", "--experiment", "smoke", *COMPOSED[1:]]}


def _says(*words: str) -> Callable[[psutil.Process], bool]:
    return lambda process: all(any(word in part for part in process.cmdline()) for word in words)


PARTS: dict[str, Callable[[psutil.Process], bool]] = {
    "everything": lambda process: True,
    "stage": lambda process: "stage" in process.cmdline() and "RANK" not in process.environ(),
    "rank": lambda process: process.environ().get("RANK") == "1" and "stage" in process.cmdline(),
    "vllm": _says("reforge.rollouts.vllm_main"),
    "grader": _says("reforge.sandbox.server"),
    "conductor": lambda process: (
        any(part.endswith(("dvc", "dvc/__main__.py")) for part in process.cmdline()[:3])
        or any("ProcessWorker" in part for part in process.cmdline())
    ),
    "mlflow": lambda process: False,  # a server of the campaign's own, not of the run
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    runs, draw, kills = parser.parse_args().runs, random.Random(0), list[dict[str, Any]]()
    differing, doors, opened = list[str](), list(DOORS), 0
    with tempfile.TemporaryDirectory(prefix="reforge-kills-") as folder:
        calm = prepare(Path(folder, "calm"))
        with mlflow_server(calm) as server:
            seconds: dict[str, float] = {}
            road(calm, "dvc", server, [], [], seconds)
        turns = turns_of(draw)
        for number in range(runs):
            project, door = prepare(Path(folder, f"run-{number}")), doors[number % len(doors)]
            with mlflow_server(project) as server:
                done = road(project, door, server, moments(seconds, draw), turns, {})
            other = compare(calm, project)
            kills += [{"run": number, "door": door, **kill} for kill in done]
            differing += [f"run {number}: {what}" for what in other]
            opened += left_open(project)
            print(f"run {number} ({door}): {len(done)} kills, {other or 'equal'}", flush=True)
    claims = claims_of(kills, differing, opened)
    show(claims)
    write("reproducible_kills", claims, [{"seconds": seconds, "differing": differing}, *kills], head())


def claims_of(kills: Sequence[dict[str, Any]], differing: Sequence[str], opened: int) -> list[Claim]:
    of = Counter(kill["part"] for kill in kills)
    stages = len({kill["stage"] for kill in kills})
    return [
        claim("kills at random moments", len(kills), "", f"≥ {GOAL}", len(kills) >= GOAL),
        claim("stages that were hit", stages, "", "12", stages == 12),
        *(claim(f"kills of {part}", of[part], "", "≥ 1", of[part] > 0) for part in PARTS),
        claim("outputs or metrics in MLflow that differ", len(differing), "", "0", not differing),
        claim("further MLflow runs that a kill left open", opened, ""),
    ]


def prepare(project: Path) -> Path:
    subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
    return project


def turns_of(draw: random.Random) -> list[str]:
    """The parts in turn, each turn in another order; taken from the end."""
    return [part for _ in range(40) for part in draw.sample(list(PARTS), len(PARTS))]


def moments(seconds: dict[str, float], draw: random.Random) -> list[tuple[str, float]]:
    """One for each stage, somewhere in what it takes undisturbed."""
    return [(stage, draw.uniform(0.0, taken)) for stage, taken in seconds.items()]


def road(
    project: Path,
    door: str,
    server: Server,
    hits: Sequence[tuple[str, float]],
    turns: list[str],
    seen: dict[str, float],
) -> list[dict[str, Any]]:
    """All of it through `door`, disturbed at these moments. Returns the kills; `seen` gets how long each stage ran."""
    tracking = f"tracking.mlflow_uri={server.uri}"
    call(project, "reforge", "compose", *COMPOSED, tracking)
    command = [sys.executable, *DOORS[door], *([tracking] if door == "prefect" else [])]
    kills = disturbed(project, command, hits, turns, server, seen)
    while not server.answers():
        time.sleep(0.2)
    call(project, "reforge", "sync")
    return kills


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
    """Kill the next part whose turn it is and that is there; the name of it, empty if the stage has just ended."""
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
    """`kill -9` of those of the run's processes; whether there were any. A process that ends meanwhile is none."""
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
    """The marked ones and all below them: what the sandbox starts has an empty environment."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(project):
                found |= {process, *process.children(recursive=True)}
    return found


def running_stage(project: Path) -> str:
    """Its name; empty between two of them. Where Prefect runs several side by side, one of them."""
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
    """MLflow's, which a kill may hit."""

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


def compare(calm: Path, project: Path) -> list[str]:
    """What of the outputs, or of the metrics that MLflow has of them, is another."""
    ours, theirs = outs(project), outs(calm)
    found = [f"{path}" for path in theirs if ours.get(path) != theirs[path]]
    mine, other = tracked(project), tracked(calm)
    for stage in other:
        if stage not in mine or history(project, mine[stage]) != history(calm, other[stage]):
            found.append(f"MLflow's metrics of {stage}")
    return found


def left_open(project: Path) -> int:
    """MLflow runs of stages that a kill hit before they were known to the stage that went on."""
    client = _client(project)
    return len(client.search_runs([_experiment(client)], "attributes.status = 'RUNNING'"))


def outs(project: Path) -> dict[str, str]:
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {entry["path"]: entry["md5"] for stage in stages.values() for entry in stage["outs"]}


def tracked(project: Path) -> dict[str, Any]:
    """Of each stage the last run that finished."""
    client = _client(project)
    found = client.search_runs(
        [_experiment(client)],
        "tags.`reforge.status` = 'ran' AND attributes.status = 'FINISHED'",
        order_by=["attributes.start_time ASC"],
    )
    return {run.data.tags["reforge.stage"]: run for run in found}


def history(project: Path, run: Any) -> dict[str, list[tuple[int, float]]]:
    client = _client(project)
    return {
        key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }


def _experiment(client: Any) -> str:
    return str(client.get_experiment_by_name("reforge").experiment_id)


def _client(project: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{project}/mlflow.db")


if __name__ == "__main__":
    main()
