"""A stage has three doors: `reforge stage`, `dvc repro`, `prefect deployment run`. They must give the same dvc.lock."""

from __future__ import annotations

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

import pytest
import yaml

from flows.leash import leashed
from tests.pipeline.projects import BIN, lock, run, second_clone, server_of

pytestmark = pytest.mark.timeout(900)


def differences(one: dict[str, object], other: dict[str, object], at: str = "") -> list[str]:
    """Paths in two parsed lock files where they differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{at}/{key}")]  # type: ignore[arg-type]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for i, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{at}/{i}")]
    return [] if one == other else [f"{at}: {one!r} != {other!r}"]


def test_one_flipped_byte_of_an_output_would_be_seen() -> None:
    one = yaml.safe_load("stages: {sft: {outs: [{path: outputs/sft, md5: aa}]}}")
    other = yaml.safe_load("stages: {sft: {outs: [{path: outputs/sft, md5: ab}]}}")
    assert differences(one, other) == ["/stages/sft/outs/0/md5: 'aa' != 'ab'"]
    assert differences(one, {"stages": {}}) != []


def test_stage_by_stage_equals_dvc_repro(smoke: Path, tmp_path: Path) -> None:
    project = second_clone(smoke, tmp_path / "project")
    run(["reforge", "compose", "experiment=smoke", server_of(smoke)], project)
    order = run([sys.executable, "-c", "from reforge.lineage.graph import graph; print(*graph())"], project)
    for name in order.stdout.split():
        run(["reforge", "stage", name], project)
    run(["dvc", "commit", "--force"], project)
    assert differences(lock(smoke), lock(project)) == []


def test_prefect_deployment_equals_dvc_repro(smoke: Path, tmp_path: Path) -> None:
    project = second_clone(smoke, tmp_path / "project")
    with prefect_server(tmp_path / "home") as environment:
        prefect = [str(BIN / "prefect"), "--no-prompt"]
        run([*prefect, "work-pool", "create", "cpu", "--type", "process"], project, **environment)
        run([*prefect, "deploy", "--name", "cpu"], project, **environment)
        with worker(project, tmp_path / "worker.log", environment):
            command = [*prefect, "deployment", "run", "pipeline/cpu", "-p", "experiment=smoke"]
            command += ["-p", f"overrides={json.dumps([server_of(smoke)])}", "--watch"]
            done = run(command, project, check=False, **environment)
    assert done.returncode == 0, f"{done.stdout}\n{(tmp_path / 'worker.log').read_text()[-5000:]}"
    assert differences(lock(smoke), lock(project)) == []


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
