"""Projects to run: a clone of this repository as a user has it, and graphs of stages that take no time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from reforge.config.compose import compose
from reforge.config.load import load_config
from reforge.config.params import write_params

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]


def run(command: list[str], where: Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """A command of this environment, in a clone, on the clone's code (this repository's, where it has none); stdout and
    stderr are one text."""
    code = ":".join(str(folder) for root in (where, ROOT) for folder in (root / "src", root))
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": code, **extra}
    done = subprocess.run(
        command, cwd=where, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0 or not check, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}"
    return done


def clone(target: Path) -> Path:
    """What git would put there: tracked files as they are now, and new ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / "dvc.lock").unlink(missing_ok=True)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "clone"]):
        run([*GIT, *command], target)
    return target


def second_clone(project: Path, target: Path) -> Path:
    """The same commit elsewhere, with nothing of what has been made since."""
    run([*GIT, "clone", "-q", str(project), str(target)], project)
    return target


def server_of(project: Path) -> str:
    """The override that names the vLLM server which `project` uses."""
    return f"sampler.urls={load_config(project / 'params.yaml').sampler.urls}"


def lock(project: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((project / "dvc.lock").read_text()))


QUICK_GRAPH = """\
stages:
  curate:
    foreach: ${curate}
    do: {cmd: "python quick.py curate@${key} outputs/curate/${key}", params: [seed], deps: [quick.py],
         outs: ["outputs/curate/${key}"], metrics: ["metrics/curate/${key}.json"]}
  rl:
    foreach: ${rl}
    do: {cmd: "python quick.py rl@${key} outputs/rl/${key}", params: ["rl.${key}"],
         deps: [quick.py, "outputs/${item.problems}"],
         outs: ["outputs/rl/${key}"], metrics: ["metrics/rl/${key}.json"], meta: {needs: gpu}}
  report: {cmd: python quick.py report report, params: [experiment], deps: [quick.py, outputs/rl],
           outs: [report], metrics: [metrics/report.json]}
"""

# A file moods/STAGE makes the stage fail for a reason of its own, be killed (once), change the values, or wait to be
# killed.
QUICK_STAGES = """\
import os, signal, sys, time
from pathlib import Path

name, out = sys.argv[1], Path(sys.argv[2])
with open("calls", "a") as calls:
    print(name, file=calls)
mood = Path("moods", name)
said = mood.read_text() if mood.exists() else ""
if said == "fail":
    print("reforge: a planted failure.", file=sys.stderr)
    sys.exit(2)
if said == "killed":
    mood.unlink()
    os.kill(os.getpid(), signal.SIGKILL)
if said == "compose":  # what somebody does meanwhile
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("seed: 0", "seed: 9"))
if said == "wait":
    mood.write_text(str(os.getpid()))
    time.sleep(120)
out.mkdir(parents=True)
(out / "table.md").write_text(f"| {name} |")
metrics = Path("metrics", *name.split("@")).with_suffix(".json")
metrics.parent.mkdir(parents=True, exist_ok=True)
metrics.write_text("{}")
"""


def calls(project: Path) -> list[str]:
    """The stages that really ran, in order."""
    path = project / "calls"
    return path.read_text().split() if path.exists() else []


def quick_project(project: Path) -> Path:
    """A project with the real conf/ and flows/ and the graph of quick stages."""
    ignore = shutil.ignore_patterns("cache", "tmp", "__pycache__")
    for folder in ("conf", "flows", ".dvc"):
        shutil.copytree(ROOT / folder, project / folder, ignore=ignore)
    shutil.copy(ROOT / "prefect.yaml", project)
    (project / "dvc.yaml").write_text(QUICK_GRAPH)
    (project / "quick.py").write_text(QUICK_STAGES)
    (project / "moods").mkdir()
    (project / ".gitignore").write_text("outputs/\nreport/\nmetrics/\n.runs/\nmlflow.db\nmlartifacts/\n")
    with contextlib.chdir(project):
        write_params(compose(["experiment=smoke"]), project / "params.yaml")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        run([*GIT, *command], project)
    return project


# What it makes follows from its own values and from all that these name: equal inputs give equal files.
TABLE_STAGES = """\
import hashlib, json, sys
from pathlib import Path

import yaml

name = sys.argv[1]
kind, _, key = name.partition("@")
with open("calls", "a") as calls:
    print(name, file=calls)
values = yaml.safe_load(Path("params.yaml").read_text())
own = values[kind][key] if key else values["evaluate"]
inputs = [Path("outputs", value) for value in own.values() if isinstance(value, str)] if key else [Path("outputs")]
said = hashlib.sha256(json.dumps(own).encode())
for path in sorted(path for folder in inputs for path in folder.rglob("*") if path.is_file()):
    said.update(path.read_bytes())
for part in ("model", "data"):
    made = Path("outputs", kind, key, part, "made") if key else Path("report", part)
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text(said.hexdigest())
metrics = Path("metrics", kind, key).with_suffix(".json")
metrics.parent.mkdir(parents=True, exist_ok=True)
metrics.write_text("{}")
"""


def tables_project(project: Path) -> Path:
    """A clone with the real graph, whose stages take no time; `smoke`, up to date."""
    clone(project)
    (project / "quick.py").write_text(TABLE_STAGES)
    real = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(real.replace("cmd: reforge stage ", "cmd: python quick.py "))
    assert (project / "dvc.yaml").read_text().count("python quick.py") == real.count("cmd: ")
    run(["reforge", "compose", "experiment=smoke"], project)
    run(["dvc", "repro"], project)
    return project
