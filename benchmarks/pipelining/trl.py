"""A whole RL step (sampling, grading in the sandbox, training, new weights) beside TRL's GRPOTrainer: same model,
prompts, group size, sampling limits, reward, dtype and machine, taking turns.   python -m benchmarks.pipelining.trl

Each side has both cores: ours one for vLLM and the sandbox and one for the learner, staleness 1; TRL generates with
transformers (why not with vLLM, in its process or from a server, the result says), and is given the micro-batch that is
fastest for it. Steps in the steady state count: not the first two, and not the last, beside which nothing is sampled.
The model is random but for its end token, whose probability is chosen so that lengths are geometric, or, for equal
lengths, 0.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import torch

from benchmarks.learner.trl_peer import new_trainer
from benchmarks.pipelining.drawing import Fixed, drawing
from benchmarks.pipelining.overlap import LEARNER_CORE, PROBLEM, SAMPLER_CORE
from benchmarks.policies import new_tokenizer
from benchmarks.record import claim, head, mean_ratio, show, write
from reforge.config import Config
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.environments.template import Template
from reforge.machine.process import free_port
from reforge.policy.folder import load_tokenizer
from reforge.policy.learner import open_learner
from reforge.policy.model import new_model, save_model
from reforge.records import Reward, Rollout, Status
from reforge.rollouts.server import open_sampler
from reforge.sandbox.judge import Isolation, Judge, Limits
from reforge.tracking.timeline import Timeline
from reforge.training import grpo
from reforge.training.recorder import Recorder

ROUNDS, STEPS, WARM = 7, 7, 2
BATCH, GROUP = 16, 8
PROMPT = "12 3 45 6 78 9 10 11 12 13"
SHAPES = {"long-tailed": (320, 1.6), "equal": (64, -50.0)}  # token limit, and what is added to the end token's logit
MICRO_BATCHES = (16, 64, 128)
GOALS = {"long-tailed": 3.0, "equal": 1.3}  # for the lower end of the interval


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
    """Return the seconds of each steady step, and the lengths of all rollouts."""
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
    return steady(ends), lengths


def steady(ends: Sequence[float]) -> list[float]:
    """Return the seconds of each step but the first two and the last."""
    return [after - before for before, after in pairwise(ends[WARM - 1 : -1])]


# --- TRL's --------------------------------------------------------------------------------------------------------


VLLM: dict[str, dict[str, Any]] = {
    "in its process": {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.1},
    "as a server": {"use_vllm": True, "vllm_mode": "server"},
}
# How each way fails on a CPU; anything else is a fault of ours.
FAILS: dict[str, type[Exception]] = {"in its process": AttributeError, "as a server": NotImplementedError}
OF_VLLM = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}  # as our servers have it
SERVER = [
    "--weight-transfer-config",
    '{"backend": "nccl"}',
    "--logprobs-mode",
    "processed_logprobs",
    "--max-logprobs=-1",
]


def their_steps(shape: str, micro_batch: int, vllm: Mapping[str, Any] | None = None) -> tuple[list[float], list[int]]:
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
            **(vllm or {}),
        )
        trainer.add_callback(Clock())
        trainer.train()
    return steady(ends), lengths


def why_no_vllm(shape: str, way: str) -> str:
    """Return why there is no comparison with this way of TRL's to use vLLM; "" where it runs."""
    settings = dict(VLLM[way])
    with ExitStack() as stack:
        if way == "as a server":
            settings["vllm_server_base_url"] = stack.enter_context(serving(policy(shape)))
        try:
            alone(their_steps, shape, MICRO_BATCHES[0], settings)
        except FAILS[way] as error:
            return f"{type(error).__name__}: {error}"[:500]
    return ""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run vLLM's own server, with the flags that TRL's client asks for, and give its address as soon as it answers."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]  # `vllm serve` asks for the GPU's wheel
    command = [*vllm, "--model", str(folder), "--host", "127.0.0.1", "--port", str(port), *SERVER]
    environment = {**os.environ, **OF_VLLM, "VLLM_SERVER_DEV_MODE": "1"}
    with Path(os.devnull).open("w") as nowhere:
        server = subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere)
    try:
        while server.poll() is None and not _answers(address):
            time.sleep(1)
        if server.poll() is not None:
            raise SystemExit(f"vLLM's own server ended with exit code {server.returncode} before it answered.")
        yield address
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        return bool(httpx.get(f"{address}/health").is_success)
    except httpx.HTTPError:
        return False


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
        seconds = [[statistics.median(steps) for steps, _ in side] for side in (theirs, ours)]
        ratio, low, high = mean_ratio([one / other for one, other in zip(*seconds, strict=True)])
        spread = [[statistics.median(side[0][1]), max(side[0][1])] for side in (theirs, ours)]
        speeds = [BATCH * GROUP / statistics.median(each) for each in seconds]
        sides = f"ours ({speeds[1]:.1f}, sampled by vLLM) to TRL's ({speeds[0]:.1f}, sampled by transformers)"
        text = f"rollouts per second of an RL step, {shape} lengths: {sides} (95% interval {low:.3g} to {high:.3g})"
        claims.append(claim(text, ratio, "times", f"lower end ≥ {GOALS[shape]:g}", low >= GOALS[shape]))
        if shape == "long-tailed":
            for side, (median, longest) in zip(("TRL's", "our"), spread, strict=True):
                share = longest / median
                claims.append(claim(f"{side} longest rollout to the median one", share, "times", "≥ 6", share >= 6))
        steps = {"TRL": [steps for steps, _ in theirs], "ours": [steps for steps, _ in ours]}
        about = {"TRL's micro-batch": best, "tried": tried, "median and longest, TRL's and ours": spread}
        runs.append({"lengths": shape, **steps, **about})
    for way in VLLM:
        why = why_no_vllm("equal", way)
        if not why:
            raise SystemExit(f"TRL runs with vLLM {way} here: it must be measured so.")
        runs.append({f"TRL with vLLM {way}": why})
    show(claims)
    write("pipelining_trl", claims, runs, commit)


if __name__ == "__main__":
    main()
