"""What all tests share: quiet tools, the repository's root, the shared data, a small project to break things in."""

from __future__ import annotations

import gc
import os
import runpy
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from reforge.config.compose import compose
from reforge.config.params import write_params
from reforge.frame.run import run_stage
from reforge.machine.project import quiet

quiet()
os.environ["REFORGE_SHELL_PATH"] = os.environ["PATH"]  # as if the environment were activated
# No test fails for being slow; what pytest-timeout ends hangs.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
ROOT = Path(__file__).parents[1]
# values that tests of `project` rely on, whatever conf/ comes to say, and stages that its graph does without
PINNED = [
    "curate.problems.train=64", "sft.cold.warmup_steps=7", "rl.short.max_tokens=40", "rl.long.max_tokens=80",
    "~base.student", "~sft.student", "~sample.teacher",
]  # fmt: skip

SMALL_GRAPH = """\
stages:
  curate:
    foreach: ${curate}
    do:
      cmd: python fake.py curate@${key}
      params: [seed, "curate.${key}"]
      deps: [raw.txt, lib]
      outs: ["outputs/curate/${key}"]
      metrics: ["metrics/curate/${key}.json"]
  base:
    foreach: ${base}
    do:
      cmd: python fake.py base@${key}
      params: [seed, "base.${key}.vocab_size"]
      deps: ["outputs/${item.texts}/data"]
      outs: ["outputs/base/${key}"]
      metrics: ["metrics/base/${key}.json"]
  rl:
    foreach: ${rl}
    do:
      cmd: python fake.py rl@${key}
      params: [seed, "rl.${key}"]
      deps: ["outputs/${item.init}/model", "outputs/${item.problems}/data"]
      outs: ["outputs/rl/${key}"]
      metrics: ["metrics/rl/${key}.json"]
  sft:
    foreach: ${sft}
    do:
      cmd: python fake.py sft@${key}
      params: [seed, "sft.${key}"]
      deps: ["outputs/${item.init}/model", "outputs/${item.problems}/data", "outputs/${item.rollouts}/data"]
      outs: ["outputs/sft/${key}"]
      metrics: ["metrics/sft/${key}.json"]
"""

FAKE_STAGES = '''\
"""Stages of four kinds, of a few lines each, run through the real contract."""
import os, sys, time, types
from pathlib import Path


def curate(ctx):
    (ctx.out / "data").mkdir()
    (ctx.out / "data" / "train.txt").write_text(Path("raw.txt").read_text().upper())
    (ctx.out / "seed").write_text(str(ctx.seed))
    ctx.metrics["problems"] = ctx.cfg.curate[ctx.key].train


def model(ctx):
    (ctx.out / "model").mkdir()
    (ctx.out / "model" / "weights").write_text(f"{ctx.name} {ctx.seed}")
    for step in (1, 2, 3):
        ctx.tracker.log(step, {"loss": 1.0 / step}, {"time/step": 0.1})


def slow(ctx):
    """Steps with a checkpoint each, until told to go on; what a killed run leaves must be enough to resume."""
    done = int((ctx.scratch / "step").read_text()) if (ctx.scratch / "step").exists() else 0
    ctx.tracker.rewind(done)
    for step in range(done + 1, 6):
        ctx.tracker.log(step, {"loss": 1.0 / step})
        (ctx.scratch / "step").write_text(str(step))
        while step == 3 and not Path(os.environ["GO"]).exists():
            time.sleep(0.05)
    (ctx.out / "model").mkdir()
    (ctx.out / "model" / "weights").write_text("done")


def stages():
    return {"curate": curate, "base": model, "sft": slow if "GO" in os.environ else model, "rl": model}


def install():
    for name, run in stages().items():
        module = types.ModuleType(f"reforge.stages.{name}")
        module.run = run
        sys.modules[module.__name__] = module


if __name__ == "__main__":
    install()
    from reforge.errors import UserError
    from reforge.frame.run import run_stage

    try:
        run_stage(sys.argv[1])
    except UserError as error:
        sys.exit(f"reforge: {error}")
'''


# Files that ask of one finished run of `smoke`, which takes two minutes: one process makes it and runs them all.
OF_SMOKE = ("test_doors.py", "test_hostile.py", "test_kills.py")


class _OneSmoke(LoadFileScheduling):
    """xdist's `--dist loadfile`, with the files of `smoke` as one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "smoke" if file.endswith(OF_SMOKE) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _OneSmoke(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run first what takes longest: with processes side by side, the others then end about when it does."""
    items.sort(key=lambda item: item.path.name not in OF_SMOKE)


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported and collected stays: the collector need not walk over it in each test


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Path:
    """This repository, as the working directory."""
    monkeypatch.chdir(ROOT)
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data sets beside the repository."""
    path = Path(os.environ.get("REFORGE_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"no shared data at {path} (set REFORGE_SHARED)")
    return path


@pytest.fixture(scope="session")
def _database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ready MLflow database: making one takes seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture(scope="session")
def _params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    write_params(compose(["experiment=smoke", *PINNED]), path)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _database: Path, _params: Path) -> Iterator[Path]:
    """A project of its own with a small graph, fake stages, the real conf/ and the real contract; and we are in it."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copytree(ROOT / "outputs/none", root / "outputs/none")
    (root / "lib").mkdir()
    (root / "lib" / "code.txt").write_text("one")
    (root / "raw.txt").write_text("a problem")
    (root / "dvc.yaml").write_text(SMALL_GRAPH)
    (root / "fake.py").write_text(FAKE_STAGES)
    (root / ".gitignore").write_text(
        "/outputs/*\n!/outputs/none\nmetrics/\n.runs/\n.scratch/\nmlflow.db\nmlartifacts/\n__pycache__/\n"
    )
    shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(_database, root / "mlflow.db")
    monkeypatch.chdir(root)
    shutil.copy(_params, root / "params.yaml")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "start"], check=True)
    before = signal.getsignal(signal.SIGTERM)  # run_stage, called in this process, takes it over
    yield root
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run_stages(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run stages of `project` in this process and record them in dvc.lock, several times faster than `dvc repro`."""

    def run(*names: str) -> None:
        for base, function in runpy.run_path("fake.py")["stages"]().items():
            module = types.ModuleType(f"reforge.stages.{base}")
            module.run = function  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, module.__name__, module)
        for name in names:
            run_stage(name)
        subprocess.run(["dvc", "commit", "-q", "-f", *names], check=True)

    return run


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """torch's own, taken back after the test."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
