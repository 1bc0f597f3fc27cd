"""Does reinforcement learning pay? The whole road for several seeds, other ways to spend the same tokens (more
fine-tuning, expert iteration), the road without each of its parts, and whether the number of threads changes what comes
out.

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
from benchmarks.road.claims import (
    EXPERIMENT,
    EXPERTS,
    PILOT,
    RUNG1,
    RUNG2,
    SEEDS,
    TWICE,
    VARIANTS,
    Run,
    claims,
    latest,
    repeated,
    require_one_setting,
)
from reforge.files.tensors import weight_digests
from reforge.lineage import levels
from reforge.rollouts.store import read_rows
from reforge.training.sft import best_step

ACCURACY = "validation/accuracy"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int)
    arguments.add_argument("--variant", choices=list(VARIANTS))
    asked = arguments.parse_args()
    runs = read_runs()
    done = {(run["variant"], run["seed"]) for run in runs}
    for variant in [asked.variant] if asked.variant else VARIANTS:  # `rungs` first: the others spend as many tokens
        seeds = (PILOT, *SEEDS) if variant == "rungs" else VARIANTS[variant].seeds  # the README shows the pilot's
        for seed in seeds if asked.seed is None else [asked.seed]:
            if (variant, seed) not in done or None not in (asked.variant, asked.seed):
                print(f"road: {variant}, seed {seed}", flush=True)
                runs.append(run_road(variant, seed, overrides(variant, seed, runs)))
                write_results(runs)
    levels.note_repeated(ROOT, EXPERIMENT, repeated(runs))


def _experts(steps: int) -> list[str]:
    """Return the rounds of expert iteration: the model answers as many training problems as often as both rungs do, all
    rounds together, and learns in so many steps from those of its answers that were right, and from the worked ones."""
    changes, before = list[str](), "cold"
    for name in EXPERTS:
        changes += [
            f"+sample.{name}=teacher", f"sample.{name}.model=sft/{before}", f"sample.{name}.count=3902",
            # 3 rounds x 3,902 problems x 7 answers = 81,942; both rungs: 160 steps x 64 problems x 8 rollouts = 81,920
            f"sample.{name}.answers=7", f"sample.{name}.temperature=1.3",
            f"+sft.{name}=distilled", f"sft.{name}.init=sft/{before}", f"sft.{name}.problems=curate/problems",
            f"sft.{name}.rollouts=sample/{name}", f"sft.{name}.steps={steps}", f"sft.{name}.learning_rate=1e-3",
            f"+evaluate.{name}=rungs", f"evaluate.{name}.model=sft/{name}",
        ]  # fmt: skip
        before = name
    return changes


OVERRIDES: dict[str, list[str]] = {
    "rungs": [],
    "cool": ["evaluate.*.temperature=0.6"],  # DeepCoder's: is the gain more than a sharper distribution?
    "expert": _experts(300),
    "expert_equal": _experts(120),
    # Without the filter a model may well run into the limit all the time: that is a result, not a fault.
    "no_filter": ["rl.*.overlong.rule=keep", "rl.*.guards.truncated=1.0"],
    "symmetric": ["rl.*.loss.clip_high=0.2"],
    "synchronous": ["rl.*.staleness=0"],
    "uncorrected": ["rl.*.loss.correction=null"],
    # How far a policy drifts from its samplers is what is measured.
    "stale": ["rl.*.staleness=4", "rl.*.guards.truncated=1.0", "rl.*.guards.gap=1e9"],
    "stale_uncorrected": [
        "rl.*.staleness=4", "rl.*.loss.correction=null", "rl.*.guards.truncated=1.0", "rl.*.guards.gap=1e9",
    ],
    "threads": ["learner.threads=2", "sampler.threads=2"],
}  # fmt: skip


def overrides(variant: str, seed: int, runs: Sequence[Run]) -> list[str]:
    """Return what the variant changes. One rung alone gets the steps that use up what both rungs of the same seed
    sampled, at the tokens per step which that rung had there."""
    if variant in OVERRIDES:
        return OVERRIDES[variant]
    reference = latest(runs).get(("rungs", seed))
    if reference is None:
        sys.exit(f"road: {variant} needs the tokens of variant rungs, seed {seed}. Run that first.")
    sampled, kept = reference["sampled"], RUNG1 if variant == "rung1" else RUNG2
    steps = round(sum(sampled.values()) / (sampled[f"rl/{kept}"] / reference["steps"][f"rl/{kept}"]))
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
    """Return the scores of the models, and by stage the optimiser steps, where its validation was best, the tokens
    trained and sampled, and the digests of weights."""
    outputs = clone / "outputs"
    steps, best = dict[str, int](), dict[str, dict[str, float]]()
    trained, sampled = dict[str, float](), dict[str, float]()
    for path in sorted([*outputs.glob("sft/*/metrics.jsonl"), *outputs.glob("rl/*/metrics.jsonl")]):
        stage, lines = _stage(path.parent, outputs), [json.loads(line) for line in path.read_text().splitlines()]
        steps[stage], trained[stage] = len(lines), sum(line["tokens/trained"] for line in lines)
        if stage.startswith("rl/"):
            sampled[stage] = sum(line["tokens/sampled"] for line in lines)
        accuracies = {line["step"]: line[ACCURACY] for line in lines if ACCURACY in line}
        if accuracies:
            step = best_step(accuracies)
            best[stage] = {"step": step, "accuracy": accuracies[step]}
    for path in sorted(outputs.glob("sample/*/data/rollouts.parquet")):
        sampled[_stage(path.parents[1], outputs)] = float(sum(len(row["token_ids"]) for row in read_rows([path])))
    scores = {
        model: slim(json.loads((outputs / "evaluate" / model / "scores.json").read_text()))
        for model in VARIANTS[variant].evaluated
    }
    weights = {_stage(Path(folder), outputs): of for folder, of in weight_digests([outputs]).items()}
    spent = {"steps": steps, "best": best, "trained": trained, "sampled": sampled}
    return {**spent, "scores": scores, "weights": weights}


def _stage(folder: Path, outputs: Path) -> str:
    return folder.relative_to(outputs).as_posix()


def slim(scores: dict[str, Any]) -> dict[str, Any]:
    """Drop the scores of single problems, except at the limits that are compared."""
    for limit, row in scores["limits"].items():
        if limit not in (RUNG2, TWICE):
            row.pop("per_problem", None)
    return scores


def write_results(runs: Sequence[Run]) -> None:
    require_one_setting(runs)
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
