"""A finished run: its lock, what is stale, whether files are the same; and a Prefect server with its worker."""

from __future__ import annotations

import filecmp
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq
from mlflow.entities import Run

from flows.leash import leashed
from reforge.config.load import load_config
from reforge.rollouts.digests import digests_of, read_digests, rollout_digests, write_digests
from reforge.rollouts.store import to_groups, write_rows
from reforge.training.learn import advantages_of
from tests.pipeline.projects import BIN, run


def differences(one: dict[str, object], other: dict[str, object], at: str = "") -> list[str]:
    """Paths in two parsed lock files where they differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{at}/{key}")]  # type: ignore[arg-type]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for i, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{at}/{i}")]
    return [] if one == other else [f"{at}: {one!r} != {other!r}"]


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """A server on a free port of this machine, with an empty database; what clients need to find it."""
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(home), "PREFECT_API_URL": url, "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }  # fmt: skip
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", port, "--no-services"]
    with ExitStack() as stack:
        log = stack.enter_context((home / "server.log").open("wb"))
        server = stack.enter_context(leashed(command, env={**os.environ, **environment}, stdout=log, stderr=log))
        stack.callback(server.terminate)
        while not healthy(url):
            assert server.poll() is None, (home / "server.log").read_text()
            time.sleep(0.5)
        yield environment


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def worker(project: Path, log: Path, environment: dict[str, str]) -> Iterator[None]:
    command = [str(BIN / "prefect"), "worker", "start", "--pool", "cpu", "--type", "process"]
    everything = {**os.environ, "PYTHONPATH": f"{project / 'src'}:{project}", **environment}
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = stack.enter_context(
            leashed(command, cwd=project, env=everything, stdout=output, stderr=subprocess.STDOUT)
        )
        stack.callback(process.terminate)
        yield


def stale(project: Path) -> set[str]:
    """The stages that `dvc repro` would run now: those with a change, and what hangs on them."""
    changed = set(json.loads(run(["dvc", "status", "--json"], project).stdout))
    program = "import json; from reforge.lineage.graph import graph; print(json.dumps(graph()))"
    for name, upstream in json.loads(run([sys.executable, "-c", program], project).stdout).items():
        if changed & set(upstream):
            changed.add(name)
    return changed


@contextmanager
def edited(path: Path, text: str) -> Iterator[None]:
    before = path.read_text() if path.exists() else None
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_text(before)


def same(one: Path, other: Path) -> bool:
    if one.is_file():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(path.relative_to(one) for path in one.rglob("*"))
    return names == sorted(path.relative_to(other) for path in other.rglob("*")) and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names if (one / name).is_file()
    )


def started(project: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A rung in a session of its own, to be killed whole."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": f"{project / 'src'}:{project}"}
    command = ["reforge", "stage", "rl@short"]
    return subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True)


def read_metrics(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for_step(project: Path, step: int, process: subprocess.Popen[bytes]) -> Path:
    """The checkpoint's mark of that step, once it is there."""
    deadline = time.monotonic() + 1200
    while time.monotonic() < deadline:
        found = list(project.glob(f".scratch/rl@short-*/checkpoint/{step:06d}/step.json"))
        if found:
            return found[0]
        assert process.poll() is None, "the stage ended before it could be killed"
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step} after twenty minutes")


@contextmanager
def reward_changed(path: Path, also: str) -> Iterator[str]:
    """Of one rollout that counts; and of what was computed from it, as far as `also` says."""
    before = {file: file.read_bytes() for file in (path, path.with_suffix(".json"))}
    table = pq.read_table(path)
    rows = table.to_pylist()
    row = next(row for row in rows if row["advantage"] is not None)
    row["reward"] = 1.0 - row["reward"]
    if also == "advantages":
        rl = load_config(path.parents[4] / "params.yaml").rl["short"]
        again = [value for group in advantages_of(to_groups(rows), rl) for value in group]
        for one, advantage in zip(rows, again, strict=True):
            one["advantage"] = advantage
    path.unlink()
    write_rows(path, rows)
    if also:
        tensors = read_digests(path.with_suffix(".json")).tensors
        write_digests(path.with_suffix(".json"), digests_of(2, rollout_digests(pq.read_table(path)), tensors))
    yield f"rollout {row['problem_id']}/{row['index']}"
    for file, content in before.items():
        file.unlink()
        file.write_bytes(content)


def artifacts(project: Path, run: Run) -> set[str]:
    """Beside the database, which names them without the folder that both lie in."""
    place = project / "mlartifacts" / run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    return {path.name for path in place.iterdir()}
