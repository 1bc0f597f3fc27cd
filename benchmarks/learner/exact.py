"""How exact is the learner? Its loss and gradients beside TRL's, and beside its own on other cuts, ranks and ZeRO
stages; its weights after a resume; how soon a killed rank ends the others.   python -m benchmarks.learner.exact
"""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

from benchmarks.record import Claim, claim, head, show, write
from tests.unit.training import test_trl as trl
from tests.unit.training.forked import run
from tests.unit.training.policies import new_policy
from tests.unit.training.test_ranks import TWO, distance, start


def beside_trl(folder: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Measure the largest relative distance of the loss and of any parameter's gradient, for each variant."""
    trainer = trl.trl_trainer(folder / "model")
    found = {}
    for name, (mine, other) in trl.VARIANTS.items():
        loss, gradients = trl.ours(folder / "model", mine, trl.ALL, budget=100)
        their_loss, theirs = trl.theirs(trainer, folder / "model", other, trl.ALL)
        gaps = [float((gradients[key] - theirs[key]).norm() / theirs[key].norm()) for key in theirs]
        found[name] = max(*gaps, abs(loss / their_loss - 1))
    worst = max(found.values())
    text = f"loss and every gradient beside TRL's, {len(found)} variants: largest relative distance"
    return [claim(text, worst, "", "≤ 1e-5", worst <= 1e-5)], {"beside TRL": found}


def over_ranks(folder: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Measure the relative distance of the whole gradient from that of one rank, ZeRO 0, large micro-batches."""
    loss = {"entropy": 0.01}
    alone = folder / "alone.safetensors"
    run(folder, 1, steps=[1, 1], learner={"micro_batch_tokens": 1000}, gradients=str(alone), loss=loss)
    found = {}
    for ranks in (1, 2):
        for stage in (0, 1, 2, 3):
            for budget, shuffle in ((64, 3), (128, 5)):
                path = folder / "other.safetensors"
                learner = {"zero_stage": stage, "micro_batch_tokens": budget}
                run(folder, ranks, steps=[1, 1], learner=learner, gradients=str(path), shuffle=shuffle, loss=loss)
                found[f"{ranks} ranks, ZeRO {stage}, {budget} tokens"] = distance(path, alone)
    worst = max(found.values())
    text = "gradient under other micro-batches, packing order, 1 and 2 ranks, ZeRO 0 to 3: largest relative distance"
    return [claim(text, worst, "", "≤ 1e-6", worst <= 1e-6)], {"gradients": found}


def resumed(folder: Path) -> tuple[list[Claim], dict[str, Any]]:
    """Train on two ranks with ZeRO-3: four steps; or two, a checkpoint, and two more with two ranks and with one."""
    learner, states = {"zero_stage": 3, "micro_batch_tokens": 64}, str(folder / "states")
    run(folder, 2, steps=[1, 4], learner=learner, out=str(folder / "whole"))
    run(folder, 2, steps=[1, 2], learner=learner, states=states, save=True)
    whole = load_file(folder / "whole" / "model.safetensors")
    found = {}
    for ranks in (2, 1):
        run(folder, ranks, steps=[3, 4], learner=learner, states=states, out=str(folder / f"with{ranks}"))
        other = load_file(folder / f"with{ranks}" / "model.safetensors")
        found[str(ranks)] = max(float((whole[name] - other[name]).abs().max()) for name in whole)
    return [
        claim("ZeRO-3, resumed with 2 ranks: largest change of a weight", found["2"], "", "0", found["2"] == 0),
        claim("… with 1 rank, weights having moved by 4e-3", found["1"], "", "≤ 1e-5", found["1"] <= 1e-5),
    ], {"resumed": found}


def killed(folder: Path) -> tuple[list[Claim], dict[str, Any]]:
    seconds = []
    for victim in (0, 1, 0, 1):
        ready = folder / "ready"
        ready.unlink(missing_ok=True)
        process = start(folder, {"steps": [1, 1], "learner": {"zero_stage": 3}, "wait": str(ready)}, TWO)
        while not ready.exists():
            time.sleep(0.05)
        ranks = [child for child in psutil.Process(process.pid).children() if "ranks_main.py" in str(child.cmdline())]
        began = time.monotonic()
        ranks[victim].send_signal(signal.SIGKILL)
        psutil.wait_procs(ranks, timeout=60)
        seconds.append(round(time.monotonic() - began, 2))
        process.communicate()
    worst = max(seconds)
    return [claim("one rank killed: the other has ended", worst, "s", "≤ 10", worst <= 10)], {"killed": seconds}


def main() -> None:
    commit = head()
    folder = Path(tempfile.mkdtemp(prefix="reforge-exact-"))
    new_policy(folder / "model")
    claims, runs = [], []
    for part in (beside_trl, over_ranks, resumed, killed):
        found, raw = part(folder)
        claims += found
        runs.append(raw)
        show(found)
    write("learner_exact", claims, runs, commit)


if __name__ == "__main__":
    main()
