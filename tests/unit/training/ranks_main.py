"""What the tests start, alone or under torchrun: train a policy on fixed rows, and write what came out.

Usage: ranks_main.py FOLDER SPEC, SPEC a JSON object: see `main`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from reforge.config.policy import LearnerConfig
from reforge.machine import process
from reforge.policy import ranks
from reforge.policy.batches import build_batch
from reforge.policy.learner import Learner, import_deepspeed, open_learner
from reforge.training import checkpoint
from reforge.training.update import Objective, update
from tests.unit.training.policies import LEARNER, objective, rows

import_deepspeed()  # before ranks are forked


def recorded(learner: Learner, batches: Any, what: Objective, path: str | None) -> Any:
    """An update, its gradient written before its last step."""
    norm = learner.gradient_norm

    def written() -> float:
        found = list(learner.gradients())
        if path and learner.leads:
            save_file({name: gradient.detach().clone().contiguous() for name, gradient in found}, path)
        return norm()

    learner.gradient_norm = written  # type: ignore[method-assign]
    try:
        return update(learner, batches, what)
    finally:
        del learner.gradient_norm


def main(folder: Path, spec: dict[str, Any]) -> None:
    """`learner`, `loss`: changed values. `steps`: [first, last]. `updates`: of a step. `shuffle`: of the rows.
    `gradients`, `out`: files to write. `states`: where checkpoints are, resumed from if there, and written if `save`.
    `renew`: the step before which the
    reference is renewed. `wait`: a file to write when ready, and then wait to be killed."""
    config = LearnerConfig(**(LEARNER | spec.get("learner", {})))
    what = objective(spec.get("learning_rate", 1e-3), **spec.get("loss", {}))
    learner = open_learner(folder / "model", config, 0, reference=what.loss.kl is not None)
    first, last = spec["steps"]
    if "states" in spec:
        assert checkpoint.resume(learner, Path(spec["states"])) == first - 1
    metrics: dict[str, float] = {}
    for step in range(first, last + 1):
        batches = []
        for number in range(spec.get("updates", 1)):
            chosen = rows(10 * step + number, what.loss)
            order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(spec.get("shuffle", 0)))
            chosen = [chosen[place] for place in order.tolist()]
            batches.append(build_batch(chosen, config.micro_batch_tokens, learner.replicas))
        if step == spec.get("renew"):
            ranks.everyone(Learner.renew_reference, learner)
        metrics, bad = ranks.everyone(recorded, learner, batches, what, spec.get("gradients"))
        assert not bad, bad
    if spec.get("save"):
        checkpoint.save(learner, Path(spec["states"]), last)
    if "wait" in spec:
        Path(spec["wait"]).write_text("ready")
        time.sleep(600)
    if "out" in spec:
        ranks.everyone(Learner.save_model, learner, Path(spec["out"]))
    print("METRICS", json.dumps(metrics))
    ranks.dismiss()


def run(folder: Path, spec: dict[str, Any]) -> None:
    if process.rank():
        ranks.follow()
    else:
        main(folder, spec)


if __name__ == "__main__":
    run(Path(sys.argv[1]), json.loads(sys.argv[2]))
