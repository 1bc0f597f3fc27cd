"""`kill -9` at random moments of the whole road, of all its processes or of one part: what comes out in the end is what
comes out undisturbed, in all outputs and in MLflow.

    python -m benchmarks.reproducible.kills [--runs 5]

Every run is `smoke` with two ranks, one batch ahead, `strict`, with an MLflow server of its own; every second one goes
through Prefect (server, worker, deployment), the others through `dvc repro`. In each, every stage is hit once, at a
moment drawn from its undisturbed duration. Whoever the kill ended is started again by the same command.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.record import ROOT, Claim, claim, head, show, write
from benchmarks.reproducible.killing import PARTS, Server, call, disturbed, mlflow_server

GOAL = 40
COMPOSED = ["experiment=smoke", "learner.ranks=2", "learner.zero_stage=2"]
DOORS = {"dvc": ["-m", "dvc", "repro"], "prefect": ["-m", "flows.local", "--experiment", "smoke", *COMPOSED[1:]]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
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
    claims = claims_of(kills, differing, opened, len(seconds))
    show(claims)
    write("reproducible_kills", claims, [{"seconds": seconds, "differing": differing}, *kills], head())


def claims_of(kills: Sequence[dict[str, Any]], differing: Sequence[str], opened: int, stages: int) -> list[Claim]:
    of = Counter(kill["part"] for kill in kills)
    hit = len({kill["stage"] for kill in kills})
    return [
        claim("kills at random moments", len(kills), "", f"≥ {GOAL}", len(kills) >= GOAL),
        claim("stages that were hit", hit, f"of {stages}", "all", hit == stages),
        *(claim(f"kills of {part}", of[part], "", "≥ 1", of[part] > 0) for part in PARTS),
        claim("outputs or metrics in MLflow that differ", len(differing), "", "0", not differing),
        claim("further MLflow runs that a kill left open", opened, ""),
    ]


def prepare(project: Path) -> Path:
    subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
    return project


def turns_of(draw: random.Random) -> list[str]:
    """Return the parts in turn, each turn in a different order; they are taken from the end."""
    return [part for _ in range(40) for part in draw.sample(list(PARTS), len(PARTS))]


def moments(seconds: dict[str, float], draw: random.Random) -> list[tuple[str, float]]:
    """Return one moment for each stage, somewhere in what it takes undisturbed."""
    return [(stage, draw.uniform(0.0, taken)) for stage, taken in seconds.items()]


def road(
    project: Path,
    door: str,
    server: Server,
    hits: Sequence[tuple[str, float]],
    turns: list[str],
    seen: dict[str, float],
) -> list[dict[str, Any]]:
    """Run the whole road through `door`, disturbed at these moments. Returns the kills; `seen` gets how long each stage
    ran."""
    tracking = f"tracking.mlflow_uri={server.uri}"
    call(project, "reforge", "compose", *COMPOSED, tracking)
    command = [sys.executable, *DOORS[door], *([tracking] if door == "prefect" else [])]
    kills = disturbed(project, command, hits, turns, server, seen)
    while not server.answers():
        time.sleep(0.2)
    call(project, "reforge", "sync")
    return kills


def compare(calm: Path, project: Path) -> list[str]:
    """Return which outputs differ, or which stages' metrics in MLflow."""
    ours, theirs = outs(project), outs(calm)
    found = [f"{path}" for path in theirs if ours.get(path) != theirs[path]]
    mine, other = tracked(project), tracked(calm)
    for stage in other:
        if stage not in mine or history(project, mine[stage]) != history(calm, other[stage]):
            found.append(f"MLflow's metrics of {stage}")
    return found


def left_open(project: Path) -> int:
    """Return how many MLflow runs are still open: those of stages that a kill hit before they were known to the stage
    that went on."""
    client = _client(project)
    return len(client.search_runs([_experiment(client)], "attributes.status = 'RUNNING'"))


def outs(project: Path) -> dict[str, str]:
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {entry["path"]: entry["md5"] for stage in stages.values() for entry in stage["outs"]}


def tracked(project: Path) -> dict[str, Any]:
    """Return for each stage the last run that finished."""
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
