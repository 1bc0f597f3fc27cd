"""One finished smoke run for all, a quick project for each, one Prefect API for all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reforge.config.load import load_config
from reforge.rollouts.server import serving
from tests.pipeline.projects import clone, quick_project, run

# Before the first import of prefect: a stray call must fail, not start a server or write into the home folder.
os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="reforge-prefect-")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`smoke` as `dvc repro` leaves it. Shared: a test that changes something puts it back.

    All stages, of all doors, use one vLLM server given by its URL: starting one takes as long as three stages.
    """
    project = clone(tmp_path_factory.mktemp("dvc"))
    run(["reforge", "compose", "experiment=smoke"], project)
    run(["dvc", "repro", "base@policy"], project)
    sampler = load_config(project / "params.yaml").sampler
    with serving(project / "outputs/base/policy/model", sampler, project / ".runs/vllm.log") as server:
        run(["reforge", "compose", "experiment=smoke", f"sampler.urls=['{server.url}']"], project)
        run(["dvc", "repro"], project)
        yield project


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _database: Path) -> Path:
    """A graph of quick stages; and we are in it."""
    project = quick_project(tmp_path / "quick")
    shutil.copy(_database, project / "mlflow.db")
    monkeypatch.chdir(project)
    return project


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A real Prefect API with an empty database. Starting it takes ten seconds, so there is one."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=1200):
        yield
