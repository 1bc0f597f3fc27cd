"""How much does it cost to be retraceable: recording every step, `determinism: strict`, and a large model's rollouts?

    python -m benchmarks.reproducible.price

The real loop runs as in benchmarks/pipelining/overlap.py, one batch ahead and with a checkpoint each step, so that it
waits for all that is recorded; strict and fast take turns. Then 1,024 rollouts of 16,384 tokens, as a step of a 7B
model leaves them, are recorded beside a thread that multiplies matrices, as training would; and weights of 2 GiB are
digested, from which follows how long those of such a model take.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import torch
from safetensors.torch import save_file

from benchmarks.pipelining.overlap import STEPS, Bench, bench
from benchmarks.record import Claim, claim, head, show, write
from reforge.files.tensors import tensor_digests
from reforge.records import Group, Reward, Rollout, Status, Verdict
from reforge.training.recorder import Recorder

ROUNDS, ROLLOUTS, GROUP, TOKENS = 5, 1024, 8, 16384
STEP_SECONDS = 600.0  # a step of a 7B model at 16K: DeepCoder-14B's took about 1,000 s at 32K
MEMORY_MIB = 512.0
WEIGHTS_GIB, SEVEN_B_GIB = 2, 14.2  # weights that are digested here, and 7.6 billion parameters in bfloat16


class Timed(Recorder):
    """A recorder that counts for how long the loop waits for it; otherwise it submits at once."""

    waited: ClassVar[float] = 0.0

    def settle(self) -> None:
        began = time.perf_counter()
        super().settle()
        Timed.waited += time.perf_counter() - began


def main() -> None:
    with bench(split=True) as part:
        part.run(1)  # warm
        recording = taking_turns(part)
    large = record_large()
    claims = claims_of(recording, large)
    show(claims)
    write("reproducible_price", claims, [recording, large], head())


def taking_turns(part: Bench) -> dict[str, list[float]]:
    """Return the seconds of a step under each profile, and those of it in which the loop waited for the recorder."""
    found: dict[str, list[float]] = {"strict": [], "fast": [], "waited": []}
    for _ in range(ROUNDS):
        for name in ("strict", "fast"):
            torch.use_deterministic_algorithms(name == "strict")
            Timed.waited = 0.0
            found[name].append(part.run(1, Timed)["step"])
            found["waited"].append(Timed.waited / STEPS)
    torch.use_deterministic_algorithms(False)
    return found


def record_large() -> dict[str, float]:
    """Record the large rollouts, and return what that takes. `idle_rate`, `busy_rate`: products a second of the other
    thread, before and meanwhile."""
    groups = list(large_groups())
    advantages = [[0.5] * GROUP for _ in groups]
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights")
        weights.mkdir()
        save_file({"head": torch.zeros(8)}, weights / "model.safetensors")
        idle = products(lambda seconds: seconds > 5)
        before, peak, ended = process.memory_info().rss, [0], threading.Event()
        watch = threading.Thread(target=watch_memory, args=(process, peak, ended))
        watch.start()
        mark = Path(folder, "r", "step-00001.json")
        recorder, began = Recorder(mark.parent, lambda *what: None), time.perf_counter()
        recorder.begin(1, groups, advantages, weights)
        busy = products(lambda _: mark.is_file())
        recorder.settle()
        seconds = time.perf_counter() - began
        ended.set()
        watch.join()
        size = mark.with_suffix(".parquet").stat().st_size
        save_file({"head": torch.zeros(WEIGHTS_GIB << 28)}, weights / "model.safetensors")
        began = time.perf_counter()
        tensor_digests(weights)
        hashing = (time.perf_counter() - began) / WEIGHTS_GIB
    return {
        "hashing_per_gib": hashing,
        "seconds": seconds,
        "idle_rate": idle,
        "busy_rate": busy,
        "memory_mib": (peak[0] - before) / 2**20,
        "file_mib": size / 2**20,
    }


def large_groups() -> Iterator[Group]:
    draw = torch.Generator().manual_seed(0)
    for number in range(ROLLOUTS // GROUP):
        rollouts, rewards = [], []
        for index in range(GROUP):
            ids = tuple(torch.randint(0, 150_000, (TOKENS,), generator=draw).tolist())
            logprobs = tuple((-torch.rand(TOKENS, generator=draw)).tolist())
            text = "x" * (4 * TOKENS)
            rollouts.append(Rollout(f"p{number}", index, index, (7,) * TOKENS, ids[:512], ids, logprobs, "stop", text))
            rewards.append(Reward(1.0, True, {"accuracy": 1.0}, Verdict(Status.ACCEPTED)))
        yield Group(f"p{number}", tuple(rollouts), tuple(rewards))


def products(enough: Callable[[float], bool]) -> float:
    """Return the matrix products a second of one thread of torch, which works until so many seconds are `enough`."""
    torch.set_num_threads(1)
    matrix, count, began = torch.rand(512, 512), 0, time.perf_counter()
    while not enough(time.perf_counter() - began):
        torch.mm(matrix, matrix)
        count += 1
    return count / (time.perf_counter() - began)


def watch_memory(process: psutil.Process, peak: list[int], ended: threading.Event) -> None:
    while not ended.wait(0.02):
        peak[0] = max(peak[0], process.memory_info().rss)


def claims_of(recording: dict[str, list[float]], large: dict[str, float]) -> list[Claim]:
    step = statistics.median(recording["strict"])
    price = 100 * statistics.median(recording["waited"]) / step
    pairs = zip(recording["strict"], recording["fast"], strict=True)
    strictness = 100 * (statistics.median(strict / fast for strict, fast in pairs) - 1)
    slower = 1 - large["busy_rate"] / large["idle_rate"]
    delay = 100 * slower * (large["seconds"] + SEVEN_B_GIB * large["hashing_per_gib"]) / STEP_SECONDS
    what = f"{ROLLOUTS:,} rollouts of {TOKENS:,} tokens"
    return [
        claim(f"recording: share of a step ({step:.2f} s) that the loop waits for it", price, "%", "< 3", price < 3),
        claim("step with determinism: strict beyond that with fast, median over rounds", strictness, "%"),
        claim(f"{what}: recorded in", large["seconds"], "s"),
        claim(f"{what}: size on disk", large["file_mib"], "MiB"),
        claim(
            f"{what}: memory taken while recording",
            large["memory_mib"],
            "MiB",
            f"≤ {MEMORY_MIB:g}",
            large["memory_mib"] <= MEMORY_MIB,
        ),
        claim(f"{what}: slowdown of another thread's work meanwhile", 100 * slower, "%"),
        claim("digests of weights", large["hashing_per_gib"], "s per GiB"),
        claim(
            f"{what} and {SEVEN_B_GIB:g} GiB of weights: delay of a step of {STEP_SECONDS:g} s",
            delay,
            "%",
            "< 3",
            delay < 3,
        ),
    ]


if __name__ == "__main__":
    main()
