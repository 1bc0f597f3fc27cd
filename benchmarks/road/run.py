"""Does reinforcement learning pay? The whole road for several seeds, three ways to spend the same tokens otherwise,
whether sampling ahead of the learner costs anything, and whether another number of threads leads elsewhere.

    python -m benchmarks.road.run                           every seed and variant that road.json lacks
    python -m benchmarks.road.run --seed 1 --variant rung2  this one, again if need be

Each run is a clone of HEAD under .scratch/road/ with this repository's DVC cache, so a stage that another run has
finished is fetched and not repeated; an interrupted run goes on where it stopped. Runs are appended to the results
(benchmarks/results/road.json) as they are; the claims are computed from the last run of each seed and variant.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.record import ROOT
from benchmarks.road.claims import EXPERIMENT, RUNG1, RUNG2, VARIANTS, Run, claims, latest, repeated
from reforge.files.tensors import weight_digests
from reforge.lineage import levels


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int)
    arguments.add_argument("--variant", choices=list(VARIANTS))
    asked = arguments.parse_args()
    runs = read_runs()
    done = {(run["variant"], run["seed"]) for run in runs}
    for variant in [asked.variant] if asked.variant else VARIANTS:  # `rungs` first: the others spend as many tokens
        for seed in VARIANTS[variant].seeds if asked.seed is None else [asked.seed]:
            if (variant, seed) not in done or None not in (asked.variant, asked.seed):
                print(f"road: {variant}, seed {seed}", flush=True)
                runs.append(run_road(variant, seed, overrides(variant, seed, runs)))
                write_results(runs)
    levels.note_repeated(ROOT, EXPERIMENT, repeated(runs))


def overrides(variant: str, seed: int, runs: Sequence[Run]) -> list[str]:
    """Return what the variant changes. One rung alone gets the steps that use up what both rungs of the same seed
    sampled, at the tokens per step which that rung had there."""
    if variant == "rungs":
        return []
    if variant == "no_filter":
        # Without the filter a model may well run into the limit all the time: that is a result, not a fault.
        return ["rl.*.overlong.rule=keep", "rl.*.guards.truncated=1.0"]
    if variant == "synchronous":
        return ["rl.*.staleness=0"]
    if variant == "stale":
        # how far it drifts from its samplers is what is measured
        return ["rl.*.staleness=4", "rl.*.loss.correction=null", "rl.*.guards.truncated=1.0", "rl.*.guards.gap=1e9"]
    if variant == "threads":
        return ["learner.threads=2", "sampler.threads=2"]
    if variant == "annealed":
        return ["sft.cold.decay=cosine"]
    if variant.startswith("steep"):
        return ["rl.*.learning_rate=3.0e-4", f"rl.*.staleness={int(variant == 'steep')}"]
    reference = latest(runs).get(("rungs", seed))
    if reference is None:
        sys.exit(f"road: {variant} needs the tokens of variant rungs, seed {seed}. Run that first.")
    rungs, kept = reference["rungs"], RUNG1 if variant == "rung1" else RUNG2
    per_step = rungs[kept]["tokens"] / rungs[kept]["steps"]
    steps = round(sum(rung["tokens"] for rung in rungs.values()) / per_step)
    if variant == "rung1":
        gone = [f"~rl.{RUNG2}", f"~evaluate.rl-{RUNG2}", f"sample.teacher.model=rl/{RUNG1}"]
        return [f"rl.{RUNG1}.steps={steps}", *gone]
    return [f"rl.{RUNG2}.steps={steps}", f"rl.{RUNG2}.init=sft/cold", f"~rl.{RUNG1}", f"~evaluate.rl-{RUNG1}"]


def run_road(variant: str, seed: int, changes: Sequence[str]) -> dict[str, Any]:
    commit = record.head(ROOT)
    clone = ROOT / ".scratch" / "road" / f"{variant}-{seed}-{commit[:10]}"
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(clone)], check=True)
    composed = [f"experiment={EXPERIMENT}", f"seed={seed}", *changes]
    _call(clone, "dvc", "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache"))
    _call(clone, "reforge", "compose", *composed)
    _call(clone, "dvc", "repro", *(f"evaluate@{model}" for model in VARIANTS[variant].evaluated))
    run = {"variant": variant, "seed": seed, "commit": commit, "overrides": composed, **collect(clone, variant)}
    shutil.rmtree(clone)
    return run


def collect(clone: Path, variant: str) -> dict[str, Any]:
    outputs = clone / "outputs"
    rungs = {}
    for metrics in sorted(outputs.glob("rl/*/metrics.jsonl")):
        sampled = [json.loads(line)["tokens/sampled"] for line in metrics.read_text().splitlines()]
        rungs[metrics.parent.name] = {"steps": len(sampled), "tokens": sum(sampled)}
    scores = {
        model: slim(json.loads((outputs / "evaluate" / model / "scores.json").read_text()))
        for model in VARIANTS[variant].evaluated
    }
    weights = {Path(folder).relative_to(outputs).as_posix(): of for folder, of in weight_digests([outputs]).items()}
    return {"rungs": rungs, "scores": scores, "weights": weights}


def slim(scores: dict[str, Any]) -> dict[str, Any]:
    """Drop the scores of single problems, except at the limit that is compared."""
    for limit, row in scores["limits"].items():
        if limit != RUNG2:
            row.pop("per_problem", None)
    return scores


def write_results(runs: Sequence[Run]) -> None:
    record.write("road", claims(runs), runs, runs[-1]["commit"])


def read_runs() -> list[Run]:
    path = record.RESULTS / "road.json"
    return list(json.loads(path.read_text())["runs"]) if path.is_file() else []


def _call(clone: Path, *command: str) -> None:
    """Run a command with the code of the clone and the tools of this environment. Threads that wait sleep: two
    processes with two of them each on two cores are three times slower where they spin instead (GNU OpenMP's
    default)."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    environment = {**os.environ, **waiting, "PATH": path, "PYTHONPATH": str(clone / "src")}
    subprocess.run(command, cwd=clone, check=True, env=environment)


if __name__ == "__main__":
    main()
