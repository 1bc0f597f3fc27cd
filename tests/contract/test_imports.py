"""The direction of imports, as contracts in pyproject.toml; and that each of them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}:{folder}"}
    command = ["lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_imports_go_down_only() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


PLANTED = {
    "config/section.py": ("import reforge.problems", "Imports go down only"),
    "rollouts/planted.py": ("import reforge.policy", "Imports go down only"),
    "evaluation/planted.py": ("import prefect", "Prefect is imported in flows/ only"),
    "environments/template.py": (
        "import omegaconf",
        "Hydra is imported in config/compose.py and config/overrides.py only",
    ),
    "lineage/manifest.py": ("import dvc.repo", "DVC is imported in lineage/graph.py only"),
    "training/planted.py": ("import mlflow", "MLflow and W&B are imported in tracking/ only"),
    "environments/planted.py": ("import torch", "The light rooms import no heavy library"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy in which each contract is broken once."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for file, (statement, _) in PLANTED.items():
        path = folder / "src" / "reforge" / file
        before = path.read_text() if path.exists() else ""
        path.write_text(f"{before}\n{statement}\n")
    done = lint(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("file", PLANTED)
def test_a_planted_violation_is_found(broken: str, file: str) -> None:
    contract = PLANTED[file][1]
    assert f"{contract} BROKEN" in broken or any(
        line.startswith(contract) and line.endswith("BROKEN") for line in broken.splitlines()
    )
    module = "reforge." + file.removesuffix(".py").replace("/", ".")
    assert f"{module} -> " in broken
