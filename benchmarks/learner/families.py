"""Do Qwen2, Qwen3, Llama and DeepSeek-V2 (latent attention, mixture of experts) train and sample through the same path,
and how far are the sampler's log-probs from the learner's?   python -m benchmarks.learner.families
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import claim, head, show, write
from reforge.config import Config
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.environments.template import Template
from reforge.objective.losses import token_mean
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import open_learner
from reforge.policy.model import new_model, save_model
from reforge.policy.tokenizer import train_tokenizer
from reforge.records import Prompt, Rollout
from reforge.rollouts.sampler import Sampling
from reforge.rollouts.server import open_sampler
from reforge.training.handover import publish
from reforge.training.update import Objective, update

FAMILIES = {"qwen2": "fresh", "qwen3": "qwen3", "llama": "llama", "deepseek_v2 (MLA, MoE)": "deepseek_v2"}
TEXTS = ["    x = x[::-1]\n    x = sorted(x)\n", "def solve(x):\n    x = [a + 3 for a in x]\n    return x\n"] * 20
PROMPTS = [Prompt(f"p{number}", (5, 6, 7 + number, 9), index) for number in range(8) for index in range(4)]
SAMPLING = Sampling(temperature=0.8, top_p=1.0, max_tokens=48)
STEPS = 3


def config_of(model: str) -> Config:
    return build_config(compose(["experiment=smoke", f"base.policy={model}"]), "benchmark")


def batch_of(rollouts: list[Rollout]) -> Any:
    """Return a batch of rollouts, of which the odd ones count as right and the even ones as wrong."""
    shares = token_mean([len(rollout.token_ids) for rollout in rollouts])
    return build_batch(
        [
            Row(r.prompt_ids, r.token_ids, share, 1.0 if number % 2 else -1.0, r.logprobs)
            for number, (r, share) in enumerate(zip(rollouts, shares, strict=True))
        ],
        2048,
    )


def train(config: Config, folder: Path) -> dict[str, Any]:
    """Train a few steps with the real server, and return what the gap was on the rollouts of each, and after each new
    set of weights."""
    tokenizer = train_tokenizer(TEXTS, 300)
    save_model(new_model(config.base["policy"].architecture, tokenizer, seed=0), tokenizer, folder / "first")
    learner = open_learner(folder / "first", config.learner, 0)
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]
    rl = config.rl["short"]
    objective = Objective(rl.loss, SAMPLING.temperature, 1e-3, 1.0, rl.guards)
    gaps, parities, losses = [], [], []
    decode = Template(learner.tokenizer).decode
    with open_sampler(folder / "first", config.sampler, decode, folder / "vllm.log") as sampler:
        for step in range(STEPS):
            found = list(sampler.sample(PROMPTS, SAMPLING, f"run/{step}"))
            rollouts = sorted(found, key=lambda rollout: (rollout.problem_id, rollout.index))
            metrics, bad = update(learner, [batch_of(rollouts)], objective)
            if bad:
                raise AssertionError(bad)
            gaps.append(metrics["gap/max"])
            losses.append(metrics["loss"])
            canaries = [(*rollout.prompt_ids, *rollout.token_ids) for rollout in rollouts[:4]]
            parities.append(sampler.load(publish(learner, folder / "weights", step + 1, canaries)))
    changed = sum(not torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))
    return {"gap": gaps, "after new weights": parities, "loss": losses, "parameters": len(before), "changed": changed}


def main() -> None:
    commit = head()
    claims, runs = [], []
    for name, model in FAMILIES.items():
        found = train(config_of(model), Path(tempfile.mkdtemp(prefix="reforge-family-")))
        runs.append({"family": name, **found})
        worst = max(*found["gap"], *found["after new weights"])
        text = f"{name}: largest |Δ log p| of sampler and learner over {STEPS} updates"
        claims.append(claim(text, worst, "nats"))
        trained = found["changed"] / found["parameters"]
        claims.append(claim(f"{name}: tensors that training changed", trained, "share", "1", trained == 1.0))
    show(claims)
    write("learner_families", claims, runs, commit)


if __name__ == "__main__":
    main()
