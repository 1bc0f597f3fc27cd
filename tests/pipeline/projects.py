"""Projects to run: a clone of this repository as a user has it, and a graph of four stages that take no time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from reforge.config.compose import compose, write_params
from reforge.config.load import load_config

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]


def run(command: list[str], where: Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """A command of this environment, in a clone, on the clone's code; stdout and stderr are one text."""
    environment = {
        **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": f"{where / 'src'}:{where}", **extra,
    }  # fmt: skip
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


def lock(project: Path) -> dict[str, object]:
    return dict(yaml.safe_load((project / "dvc.lock").read_text()))


QUICK_GRAPH = """\
stages:
  curate: {cmd: python quick.py curate outputs/curate, params: [seed], deps: [quick.py],
           outs: [outputs/curate], metrics: [metrics/curate.json]}
  rl:
    foreach: ${rl.rungs}
    do: {cmd: "python quick.py rl@${key} outputs/rl/${key}", params: [rl], deps: [quick.py, outputs/curate],
         outs: ["outputs/rl/${key}"], metrics: ["metrics/rl/${key}.json"], meta: {gpu: true}}
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
