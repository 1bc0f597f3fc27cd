"""What does it save to sample the next batch while this one trains? The real loop (vLLM over HTTP, sandbox, learner) on
one core each for sampler and learner, synchronous and one-off taking turns.   python -m benchmarks.pipelining.overlap
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.pipelining.drawing import Fixed, drawing
from benchmarks.policies import new_tokenizer
from benchmarks.record import Claim, claim, head, show, write
from reforge.config import Config
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.environments.template import Template
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import Learner, open_learner
from reforge.policy.model import new_model, save_model
from reforge.records import Problem, Reward, Rollout, Status, TestCase
from reforge.rollouts.sampler import Sampler
from reforge.rollouts.server import open_sampler
from reforge.sandbox.judge import Isolation, Judge, Limits
from reforge.tracking.timeline import Timeline
from reforge.training import grpo
from reforge.training.learn import learn
from reforge.training.recorder import Recorder
from reforge.training.schedule import step_seconds
from reforge.training.update import Objective, update

ROUNDS, STEPS, WARM = 3, 7, 2  # rounds, steps of each run, and how many of its first steps fill the pipeline
CORRECTIONS = 2  # how often the time that training takes is corrected
BATCH, GROUP, TOKENS = 12, 8, 96
RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)  # ratios of sampling time to training time
SAMPLER_CORE, LEARNER_CORE = {0}, {1}
PROBLEM = Problem("p", "statement", "print(input())", (TestCase("stdin", "1\n", "1\n"),))


@dataclass
class Bench:
    """The parts of one loop. `extra` tokens that the learner trains besides, or `teaching`, the share of groups that it
    learns from, choose how long it takes. `waits`: verdicts come from a judge that takes 1 to 3 seconds."""

    config: Config
    learner: Learner
    sampler: Sampler
    judge: Judge
    folder: Path
    extra: int = 0
    teaching: float = 1.0
    waits: bool = False
    runs: int = 0

    def run(self, staleness: int, recorder: type[Recorder] = Recorder) -> dict[str, float]:
        """Run the loop, and return medians over the steps after the pipeline has filled."""
        self.runs += 1
        where = self.folder / f"run-{self.runs}"
        timeline = Timeline(where / "timeline.json", time.perf_counter)
        ends, pauses = [], []

        def after_step(step: int, metrics: dict[str, float], timings: dict[str, float]) -> None:
            ends.append(time.perf_counter())
            pauses.append(timings["seconds/sampler_pause"])

        changes = {"steps": STEPS, "max_tokens": TOKENS, "batch": BATCH, "group_size": GROUP, "staleness": staleness}

        def learn_and_more(*of_step: Any) -> dict[str, float]:
            self.train_more()
            return learn(*of_step)

        config = self.config.rl["short"].model_copy(update=changes)
        fixed = Fixed({f"p{number}": tuple(range(5, 37)) for number in range(BATCH * STEPS)}, self.score)
        graders = ThreadPoolExecutor(BATCH * GROUP if self.waits else 2, "grader")
        run = grpo.Run(
            learner=self.learner,
            sampler=self.sampler,
            draw=drawing(self.sampler, fixed, config, graders, timeline),
            canaries=list(fixed.prompts.values())[: grpo.CANARIES],
            config=config,
            recorder=recorder(where / "rollouts", lambda step, differing: None),
            weights_folder=where / "weights",
            timeline=timeline,
            after_step=after_step,
        )
        with graders, patch.object(grpo, "learn", learn_and_more):
            grpo.train(run)
        step = statistics.median(after - before for before, after in zip(ends[WARM:], ends[WARM + 1 :], strict=False))
        return {"step": step, "pause": statistics.median(pauses[WARM:]), **parts(timeline)}

    def score(self, rollout: Rollout) -> Reward:
        """Run a program of its own for each rollout. Half of a group that teaches is right, and all of any other."""
        teaches = int(rollout.problem_id[1:]) % BATCH < self.teaching * BATCH
        right = rollout.index % 2 or not teaches
        program = f"print({'input()' if right else 0})  # {self.runs} {rollout.seed}"
        verdict = self.judge.judge(program, PROBLEM)
        if self.waits:
            time.sleep(1.0 + 2.0 * rollout.index / (GROUP - 1))
        return Reward(float(verdict.status is Status.ACCEPTED), verdict.solved, {}, verdict)

    def train_more(self) -> None:
        if self.extra:
            rows = [Row((5,) * 32, (6,) * TOKENS, 1e-6, 1.0, (-7.0,) * TOKENS)] * (self.extra // TOKENS)
            rl = self.config.rl["short"]
            update(self.learner, [build_batch(rows, 2560)], Objective(rl.loss, 1.0, 0.0, 1.0, rl.guards))


def parts(timeline: Timeline) -> dict[str, float]:
    """Return the seconds of a step: medians of what each part did, and of the time from the last rollout to the last
    verdict."""
    found: dict[str, dict[int, float]] = {}
    for span in timeline.spans:
        of = found.setdefault(f"{span.lane.partition(' ')[0]}/{span.name}", {})
        of[span.step] = of.get(span.step, 0.0) + span.end - span.start
    sampled = {s.step: s.end for s in timeline.spans if (s.lane, s.name) == ("sampler", "sample")}
    graded: dict[int, float] = {}
    for span in timeline.spans:
        if span.name == "grade":
            graded[span.step] = max(graded.get(span.step, 0.0), span.end)
    steps = range(WARM + 1, STEPS + 1)

    def median(key: str) -> float:
        return statistics.median(found.get(key, {}).get(step, 0.0) for step in steps)

    return {
        "sampling": median("sampler/sample"),
        "grading": statistics.median(max(0.0, graded[step] - sampled[step]) for step in steps),
        "training": median("learner/train"),
        "sync": median("learner/publish") + median("sampler/load weights"),
    }


@contextmanager
def bench(split: bool) -> Iterator[Bench]:
    """Yield a bench on one core for sampler and sandbox and one for the learner, or on both for everything."""
    both = os.sched_getaffinity(0)
    threads = 1 if split else len(both)
    torch.set_num_threads(threads)
    endless = ["rl.*.guards.truncated=1.0", "rl.*.guards.gap=1e9", "rl.*.overlong.rule=keep"]
    # Random weights hardly ever end.
    config = build_config(
        compose(["experiment=tiny", f"learner.threads={threads}", f"sampler.threads={threads}", *endless]), "benchmark"
    )
    scratch = tempfile.TemporaryDirectory(prefix="reforge-pipelining-", dir="/dev/shm")
    folder = Path(scratch.name)
    tokenizer = new_tokenizer(1024)
    save_model(new_model(config.base["policy"].architecture, tokenizer, 0), tokenizer, folder / "model")
    limits = Limits(6.0, 20.0, 512, 64, 60.0)
    try:
        os.sched_setaffinity(0, SAMPLER_CORE if split else both)
        with (
            Judge(limits, 2, None, Isolation.SYSCALLS, ()) as judge,
            open_sampler(folder / "model", config.sampler, Template(tokenizer).decode, folder / "vllm.log") as sampler,
        ):
            os.sched_setaffinity(0, LEARNER_CORE if split else both)
            yield Bench(config, open_learner(folder / "model", config.learner, 0), sampler, judge, folder)
    finally:
        os.sched_setaffinity(0, both)
        scratch.cleanup()


def calibrate(part: Bench, ratio: float) -> None:
    """Make sampling take `ratio` times as long as training."""
    part.extra, part.teaching = 0, 1.0
    plain = part.run(0)
    wanted = plain["sampling"] / ratio
    if wanted < plain["training"]:
        part.teaching = max(1 / BATCH, wanted / plain["training"])
        return
    part.extra = 4096
    more = part.run(0)
    speed = part.extra / max(1e-3, more["training"] - plain["training"])
    for _ in range(CORRECTIONS):
        part.extra = max(0, part.extra + int((more["sampling"] / ratio - more["training"]) * speed))
        more = part.run(0)


def taking_turns(part: Bench, schedules: tuple[int, ...], rounds: int = ROUNDS) -> dict[int, list[dict[str, float]]]:
    found: dict[int, list[dict[str, float]]] = {staleness: [] for staleness in schedules}
    for _ in range(rounds):
        for staleness in schedules:
            found[staleness].append(part.run(staleness))
    return found


def median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def theory(runs: list[dict[str, float]], staleness: int) -> float:
    """Return the seconds that a step takes in theory, from what each part took in the synchronous runs."""
    sampling, grading = median(runs, "sampling"), median(runs, "grading")
    return step_seconds(sampling, grading, median(runs, "training") + median(runs, "sync"), staleness)


def main() -> None:
    commit = head()
    claims: list[Claim] = []
    runs: list[dict[str, Any]] = []
    with bench(split=True) as part:
        calibrate(part, 1.0)
        equal = taking_turns(part, (0, 1))
        runs.append({"case": "sampling ≈ training", "extra": part.extra, "runs": equal})
        one, sync = median(equal[1], "step"), median(equal[0], "step")
        bound = max(
            median(equal[1], "sampling") + median(equal[1], "grading"),
            median(equal[1], "training") + median(equal[1], "sync"),
        )
        text = f"one-off step ({one:.2f} s) to the longer of sampling + grading and training + sync"
        claims.append(claim(text, one / bound, "times", "≤ 1.1", one / bound <= 1.1))
        text = f"synchronous step ({sync:.2f} s) to one-off step, one core each"
        claims.append(claim(text, sync / one, "times", "≥ 1.7", sync / one >= 1.7))
        pause = median(equal[1], "pause") / one
        claims.append(claim("sampler paused for new weights, of the step", 100 * pause, "%", "< 5", pause < 0.05))
        extra = part.extra

        part.waits, part.extra = True, extra
        waiting = taking_turns(part, (0, 1, 2))
        runs.append({"case": "verdicts take 1 to 3 s", "extra": part.extra, "runs": waiting})
        for staleness in (1, 2):
            speedup = median(waiting[0], "step") / median(waiting[staleness], "step")
            goal = ("≥ 2", speedup >= 2.0) if staleness == 2 else ("", None)
            text = f"verdicts take 1 to 3 s: synchronous step to that at staleness {staleness}"
            claims.append(claim(text, speedup, "times", *goal))
        part.waits = False

        for ratio in RATIOS:
            calibrate(part, ratio)
            found = taking_turns(part, (0, 1), rounds=1)
            runs.append({"case": f"ratio {ratio:g}", "extra": part.extra, "teaching": part.teaching, "runs": found})
            speedup = median(found[0], "step") / median(found[1], "step")
            expected = theory(found[0], 0) / theory(found[0], 1)
            real = median(found[0], "sampling") / median(found[0], "training")
            claims.append(claim(f"sampling {real:.2f} times training: synchronous to one-off", speedup, "times"))
            claims.append(claim(f"sampling {real:.2f} times training: in theory", expected, "times"))
    with bench(split=False) as part:
        part.extra = extra
        both = [part.run(0) for _ in range(ROUNDS)]
        runs.append({"case": "synchronous, both cores for everything", "extra": extra, "runs": both})
        text = "synchronous step with both cores for everything to one-off step on one core each"
        claims.append(claim(text, median(both, "step") / one, "times"))
    show(claims)
    write("pipelining", claims, runs, commit)


if __name__ == "__main__":
    main()
