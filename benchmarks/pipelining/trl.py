"""A whole RL step (sampling, grading in the sandbox, training, new weights) beside TRL's GRPOTrainer: same model,
prompts, group size, sampling limits, reward, dtype and machine, taking turns.   python -m benchmarks.pipelining.trl

Each side has both cores: ours one for vLLM and the sandbox and one for the learner, staleness 1; TRL generates with
transformers (why not with vLLM, the result says), and is given the micro-batch that is fastest for it. The model is
random but for its end token, whose probability is chosen so that lengths are geometric, or, for equal lengths, 0.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.learner.trl_peer import new_trainer
from benchmarks.pipelining.drawing import Fixed, drawing
from benchmarks.pipelining.overlap import LEARNER_CORE, PROBLEM, SAMPLER_CORE
from benchmarks.policies import new_tokenizer
from benchmarks.record import claim, head, show, write
from reforge.config import Config
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.environments.template import Template
from reforge.policy.folder import load_tokenizer
from reforge.policy.learner import open_learner
from reforge.policy.model import new_model, save_model
from reforge.records import Reward, Rollout, Status
from reforge.rollouts.server import open_sampler
from reforge.sandbox.judge import Isolation, Judge, Limits
from reforge.tracking.timeline import Timeline
from reforge.training import grpo
from reforge.training.recorder import Recorder

ROUNDS, STEPS, WARM = 3, 4, 2
BATCH, GROUP = 16, 8
PROMPT = "12 3 45 6 78 9 10 11 12 13"
SHAPES = {"long-tailed": (320, 1.6), "equal": (64, -50.0)}  # token limit, and what is added to the end token's logit
MICRO_BATCHES = (16, 64, 128)
GOAL = 3.0


def config() -> Config:
    of_rl = ["staleness=1", "learning_rate=1e-6", "guards.truncated=1.0", "overlong.rule=keep"]
    changes = [f"rl.*.{change}" for change in (f"batch={BATCH}", f"group_size={GROUP}", *of_rl)]
    return build_config(
        compose(["experiment=tiny", "base.policy.architecture.extra={tie_word_embeddings: false}", *changes]), "b"
    )


@cache
def policy(shape: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="reforge-trl-", dir="/dev/shm"))
    tokenizer = new_tokenizer(300)
    model = new_model(config().base["policy"].architecture, tokenizer, 0)
    with torch.no_grad():  # one feature that all states share, and that speaks for the end token only
        model.get_input_embeddings().weight[:, 0] = 4.0
        head_VH = model.get_output_embeddings().weight
        head_VH[:, 0] = 0.0
        states = model.get_decoder()(torch.arange(5, 200)[None]).last_hidden_state
        head_VH[tokenizer.eos_token_id, 0] = SHAPES[shape][1] / float(states[..., 0].mean())
    save_model(model, tokenizer, folder)
    return folder


def judge() -> Judge:
    return Judge(Limits(6.0, 20.0, 512, 64, 60.0), 2, None, Isolation.SYSCALLS, ())


def program(index: int, name: str) -> str:
    """Return a rollout's program; half of a group is right."""
    return f"print({'input()' if index % 2 else 0})  # {name}"


# --- ours ---------------------------------------------------------------------------------------------------------


def our_steps(shape: str) -> tuple[list[float], list[int]]:
    """Return the seconds of each step after the first two (WARM), and the lengths of all rollouts."""
    both, cfg, folder = os.sched_getaffinity(0), config(), policy(shape)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, SAMPLER_CORE)
    tokenizer = load_tokenizer(folder)
    ends: list[float] = []
    lengths: list[int] = []
    with ExitStack() as stack:
        graders = stack.enter_context(judge())
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        sampler = stack.enter_context(open_sampler(folder, cfg.sampler, Template(tokenizer).decode, work / "vllm.log"))
        os.sched_setaffinity(0, LEARNER_CORE)
        learner = open_learner(folder, cfg.learner, 0)
        ids = tuple(tokenizer(PROMPT).input_ids)

        def score(rollout: Rollout) -> Reward:
            lengths.append(len(rollout.token_ids))
            verdict = graders.judge(program(rollout.index, str(rollout.seed)), PROBLEM)
            return Reward(float(verdict.status is Status.ACCEPTED), verdict.solved, {}, verdict)

        rl = cfg.rl["short"].model_copy(update={"steps": STEPS, "max_tokens": SHAPES[shape][0]})
        fixed = Fixed({f"p{number}": ids for number in range(BATCH * STEPS)}, score)
        timeline = Timeline(work / "timeline.json", time.perf_counter)
        pool = stack.enter_context(ThreadPoolExecutor(2, "grader"))
        grpo.train(
            grpo.Run(
                learner=learner,
                sampler=sampler,
                draw=drawing(sampler, fixed, rl, pool, timeline),
                canaries=[ids],
                config=rl,
                recorder=Recorder(work / "rollouts", lambda step, differing: None),
                weights_folder=work / "weights",
                timeline=timeline,
                after_step=lambda *_: ends.append(time.perf_counter()),
            )
        )
    os.sched_setaffinity(0, both)
    return [after - before for before, after in zip(ends[WARM - 1 :], ends[WARM:], strict=False)], lengths


# --- TRL's --------------------------------------------------------------------------------------------------------


VLLM = {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.1}
OF_VLLM = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}  # as our servers have it


def their_steps(shape: str, micro_batch: int, vllm: bool = False) -> tuple[list[float], list[int]]:
    from transformers import TrainerCallback

    if vllm:
        os.environ.update(OF_VLLM)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    lengths: list[int] = []
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    with judge() as graders:

        def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
            lengths.extend(map(len, completion_ids))
            jobs = [(program(number, f"{len(ends)} {number}"), PROBLEM) for number in range(len(completion_ids))]
            return [float(verdict.status is Status.ACCEPTED) for verdict in graders.judge_many(jobs)]

        trainer = new_trainer(
            policy(shape),
            reward,
            PROMPT,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=BATCH * GROUP // micro_batch,
            num_generations=GROUP,
            max_completion_length=SHAPES[shape][0],
            temperature=1.0,
            top_k=0,
            beta=0.0,
            epsilon_high=0.28,
            learning_rate=1e-6,
            max_steps=STEPS,
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **(VLLM if vllm else {}),
        )
        trainer.add_callback(Clock())
        trainer.train()
    return [after - before for before, after in zip(ends[WARM - 1 :], ends[WARM:], strict=False)], lengths


def why_no_vllm(shape: str, micro_batch: int) -> str:
    """Return why there is no comparison with TRL's own use of vLLM; "" where it runs."""
    try:
        alone(their_steps, shape, micro_batch, True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]
    return ""


# --- the comparison -----------------------------------------------------------------------------------------------


def alone(work: Any, *args: Any) -> Any:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *args).result()


def main() -> None:
    commit = head()
    claims, runs = [], []
    for shape in SHAPES:
        tried = {size: statistics.median(alone(their_steps, shape, size)[0]) for size in MICRO_BATCHES}
        best = min(tried, key=tried.__getitem__)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(alone(their_steps, shape, best))
            ours.append(alone(our_steps, shape))
        seconds = [statistics.median(step for steps, _ in side for step in steps) for side in (theirs, ours)]
        spread = [[statistics.median(side[0][1]), max(side[0][1])] for side in (theirs, ours)]
        ratio = seconds[0] / seconds[1]
        goal = (f"≥ {GOAL:g}", ratio >= GOAL) if shape == "long-tailed" else ("", None)
        speeds = [BATCH * GROUP / one for one in seconds]
        text = f"rollouts per second of an RL step, {shape} lengths: ours ({speeds[1]:.1f}) to TRL's ({speeds[0]:.1f})"
        claims.append(claim(text, ratio, "times", *goal))
        if shape == "long-tailed":
            for side, (median, longest) in zip(("TRL's", "our"), spread, strict=True):
                share = longest / median
                claims.append(claim(f"{side} longest rollout to the median one", share, "times", "≥ 6", share >= 6))
        steps = {"TRL": [steps for steps, _ in theirs], "ours": [steps for steps, _ in ours]}
        about = {"TRL's micro-batch": best, "tried": tried, "median and longest, TRL's and ours": spread}
        runs.append({"lengths": shape, **steps, **about})
    why = why_no_vllm("equal", MICRO_BATCHES[0])
    if not why:
        raise SystemExit("TRL runs with vLLM here: it must be measured with it.")
    runs.append({"TRL with vLLM in its process": why})
    show(claims)
    write("pipelining_trl", claims, runs, commit)


if __name__ == "__main__":
    main()
