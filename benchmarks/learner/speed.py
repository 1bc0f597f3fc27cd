"""How fast is a learner step beside TRL's GRPOTrainer: same model, same completions, same machine, taking turns? And
what does it save to leave out the groups that teach nothing?   python -m benchmarks.learner.speed

Each call adds a recording of ROUNDS rounds; the claims are about all recordings, and no goal is met before there are
RECORDINGS of them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.learner.trl_peer import new_trainer
from benchmarks.policies import new_tokenizer
from benchmarks.record import RESULTS, Claim, claim, head, mean_ratio, show, write
from reforge.config import Config
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.config.policy import Lora
from reforge.objective.losses import token_mean
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import Learner, open_learner
from reforge.policy.model import new_model, save_model
from reforge.training.update import Objective, update

ROUNDS, STEPS, RECORDINGS = 7, 2, 5
ROLLOUTS, PROMPT, GROUP = 64, 32, 8
EQUAL, LONGEST = 128, 640
MICRO_BATCHES = (8, 16, 32, 64)  # TRL is given the one that is fastest for it
VOCABULARY = 1024
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = Lora(rank=16, alpha=16, targets=LINEAR)


@dataclass(frozen=True)
class Work:
    """The rollouts to train on, with an advantage for each."""

    prompts: list[list[int]]
    completions: list[list[int]]
    advantages: list[float]


def work(lengths: Sequence[int], seed: int = 0) -> Work:
    chance = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [chance.randrange(4, VOCABULARY // 2) for _ in range(count)]

    prompts = [ids(PROMPT) for _ in range(0, len(lengths), GROUP)]
    advantages = [chance.gauss(0, 1) for _ in lengths]
    return Work(
        [prompts[number // GROUP] for number in range(len(lengths))],
        [ids(length) for length in lengths],
        advantages,
    )


def long_tailed() -> list[int]:
    """Return log-normal lengths, the longest of which is ten times the median."""
    chance = random.Random(0)
    lengths = [min(LONGEST, max(8, int(chance.lognormvariate(4.16, 0.8)))) for _ in range(ROLLOUTS)]
    return [*lengths[:-1], LONGEST]


# --- ours ---------------------------------------------------------------------------------------------------------


def our_seconds(learner: Learner, objective: Objective, given: Work, steps: int = STEPS) -> float:
    """Return the median seconds of a few steps, packing included."""
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        shares = token_mean([len(ids) for ids in given.completions])
        rows = [
            Row(tuple(prompt), tuple(ids), share, advantage, (-7.0,) * len(ids))
            for prompt, ids, share, advantage in zip(
                given.prompts, given.completions, shares, given.advantages, strict=True
            )
            if advantage
        ]
        if rows:
            _, bad = update(learner, [build_batch(rows, learner.config.micro_batch_tokens)], objective)
            assert not bad, bad
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


# --- TRL's --------------------------------------------------------------------------------------------------------


class Theirs:
    """A GRPOTrainer that is handed its completions in place of generating them; all else is its own training loop."""

    def __init__(self, folder: Path, given: Work, micro_batch: int) -> None:
        from transformers import TrainerCallback

        self.trainer = new_trainer(
            folder,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=ROLLOUTS // micro_batch,
            num_generations=GROUP,
            max_completion_length=max(map(len, given.completions)),
            epsilon_high=0.28,
            learning_rate=1e-6,
            max_steps=STEPS + 1,
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        batch = _padded(given)
        self.trainer._generate_and_score_completions = lambda _: dict(batch)
        self.seconds: list[float] = []
        clock = self.seconds

        class Clock(TrainerCallback):
            began = 0.0

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.began = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.append(time.perf_counter() - self.began)

        self.trainer.add_callback(Clock())

    def median(self) -> float:
        self.seconds.clear()
        self.trainer.train()
        return statistics.median(self.seconds[1:])


def _padded(given: Work) -> dict[str, Any]:
    longest = max(map(len, given.completions))
    ids, mask = (torch.zeros((len(given.completions), longest), dtype=torch.long) for _ in range(2))
    for number, row in enumerate(given.completions):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
    prompts = torch.tensor(given.prompts)
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": ids,
        "completion_mask": mask,
        "advantages": torch.tensor(given.advantages),
        "num_items_in_batch": mask.sum(),
    }


# --- the comparison -----------------------------------------------------------------------------------------------


SHAPES = {"long-tailed": long_tailed(), "equal": [EQUAL] * ROLLOUTS}
GOALS = {"long-tailed": (2.0, 2.0), "equal": (1.3, 1.2)}  # for the ratio and for the lower end of its interval


def alone() -> ProcessPoolExecutor:
    """Return a process for one side, so that neither finds the other's memory, fresh or worn."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


@cache
def settings() -> Config:
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    overrides = [f"learner.threads={threads}", "base.policy.architecture.context=1024", "rl.*.guards.gap=1e9"]
    return build_config(compose(["experiment=tiny", *overrides]), "b")


@cache
def new_policy() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="reforge-speed-"))
    tokenizer = new_tokenizer(VOCABULARY)
    save_model(new_model(settings().base["policy"].architecture, tokenizer, 0), tokenizer, folder)
    return folder


@cache
def ours(adapters: bool = False) -> tuple[Learner, Objective]:
    """Return a learner of all weights, or of adapters only."""
    config, rl = settings(), settings().rl["short"]
    objective = Objective(rl.loss, 1.0, 1e-6, config.learner.gradient_clip, rl.guards)
    trained = config.learner.model_copy(update={"lora": ADAPTERS if adapters else None})
    return open_learner(new_policy(), trained, 0), objective


@cache
def theirs(name: str, micro_batch: int) -> Theirs:
    return Theirs(new_policy(), work(SHAPES[name]), micro_batch)


def our_round(name: str, adapters: bool = False) -> float:
    return our_seconds(*ours(adapters), work(SHAPES[name]))


def their_round(name: str, micro_batch: int) -> float:
    return theirs(name, micro_batch).median()


def recorded(name: str, commit: str) -> dict[str, Any]:
    """Measure one recording of these lengths."""
    lengths = SHAPES[name]
    tried = {}
    for size in MICRO_BATCHES:
        with alone() as process:
            tried[size] = min(process.submit(their_round, name, size).result() for _ in range(2))
    best = min(tried, key=tried.__getitem__)
    seconds: dict[str, list[float]] = {"TRL": [], "ours": []}
    with alone() as trl, alone() as own:
        for _ in range(ROUNDS + 1):
            seconds["TRL"].append(trl.submit(their_round, name, best).result())
            seconds["ours"].append(own.submit(our_round, name).result())
    shape = {"lengths": name, "median": statistics.median(lengths), "longest": max(lengths)}
    when = {"recorded": datetime.now(UTC).isoformat(timespec="minutes"), "commit": commit}
    return {**when, **shape, **seconds, "TRL's micro-batch": best, "tried": tried}


def beside(name: str, recordings: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Return the claim about all recordings of these lengths, with the interval over recordings (a machine has its
    days: rounds of one recording are no independent trials), and the smallest and the greatest ratio."""
    of = [recording for recording in recordings if recording["lengths"] == name]
    rounds = [list(zip(one["TRL"][1:], one["ours"][1:], strict=True)) for one in of]  # the first round warms up
    each = [[theirs / own for theirs, own in pairs] for pairs in rounds]
    ratios = sorted(mean_ratio(of_rounds)[0] for of_rounds in each)
    mean, low, high = mean_ratio(ratios if len(of) > 1 else each[0])
    theirs, own = (statistics.median(pair[side] for pairs in rounds for pair in pairs) for side in (0, 1))
    text = (
        f"learner step, {name} lengths: TRL ({theirs:.2f} s) to ours ({own:.2f} s), {len(of)} recordings "
        f"(95% interval {low:.3g} to {high:.3g})"
    )
    least, lower = GOALS[name]
    met = mean >= least and low >= lower if len(of) >= RECORDINGS else None
    return [
        claim(text, mean, "times", f"≥ {least:g}, lower end ≥ {lower:g}, {RECORDINGS} recordings", met),
        claim(f"learner step, {name} lengths: the recording with the smallest ratio", ratios[0], "times"),
        claim(f"learner step, {name} lengths: the recording with the greatest ratio", ratios[-1], "times"),
    ]


def main() -> None:
    commit, path = head(), RESULTS / "learner_speed.json"
    before = json.loads(path.read_text())["runs"] if path.is_file() else []
    recordings = [run for run in before if "recorded" in run] + [recorded(name, commit) for name in SHAPES]
    curve = skipped(*ours())
    claims = [item for name in SHAPES for item in beside(name, recordings)] + [
        claim(f"step time at a solve rate of {rate:g}, to that with nothing left out", share, "times")
        for rate, share in curve.items()
    ]
    show(claims)
    write("learner_speed", claims, [*recordings, {"step time by solve rate": curve}], commit)


def skipped(learner: Learner, objective: Objective) -> dict[float, float]:
    """Return, by solve rate, a step's time to that with nothing left out. Rewards are 1 at that rate; groups of 8 with
    equal rewards need no pass."""
    given = work(long_tailed())
    found = {}
    for rate in (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0):
        shares = []
        for seed in range(ROUNDS):
            chance = random.Random(f"{seed}/{rate}")
            rewards = [float(chance.random() < rate) for _ in given.advantages]
            groups = [rewards[first : first + GROUP] for first in range(0, ROLLOUTS, GROUP)]
            advantages = [value - statistics.fmean(group) for group in groups for value in group]
            whole = our_seconds(learner, objective, given, 1)
            shares.append(
                our_seconds(learner, objective, Work(given.prompts, given.completions, advantages), 1) / whole
            )
        found[rate] = round(statistics.fmean(shares), 3)
    return found


if __name__ == "__main__":
    main()
