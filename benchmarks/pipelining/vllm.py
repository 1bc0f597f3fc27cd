"""Does each of vLLM's settings on a CPU speed up a wave of rollouts of `tiny`? Servers with it and without take
turns.

python -m benchmarks.pipelining.vllm
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.policies import new_tokenizer
from benchmarks.record import claim, head, show, write
from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.environments.template import Template
from reforge.policy.model import new_model, save_model
from reforge.records import Prompt
from reforge.rollouts.sampler import Sampler, Sampling
from reforge.rollouts.server import open_sampler

ROUNDS = 5
PROMPTS, GROUP, TOKENS = 32, 8, 96
AS_SET: tuple[list[str], dict[str, str]] = ([], {})
SETTINGS = {  # what each setting changes in conf, and in the environment
    "threads: 2": (["sampler.threads=2"], {}),
    "bound to one core (VLLM_CPU_OMP_THREADS_BIND=0)": ([], {"VLLM_CPU_OMP_THREADS_BIND": "0"}),
    "dtype: bfloat16": (["sampler.dtype=bfloat16"], {}),
    "enforce_eager: false (compiled)": (["sampler.enforce_eager=false"], {}),
    "max_sequences: 128": (["sampler.max_sequences=128"], {}),
    "max_sequences: 32": (["sampler.max_sequences=32"], {}),
    "memory_gb: 4": (["sampler.memory_gb=4"], {}),
    "freed memory given back (GLIBC_TUNABLES empty)": ([], {"GLIBC_TUNABLES": ""}),
}


@contextmanager
def server(folder: Path, tokenizer: Any, setting: tuple[list[str], dict[str, str]]) -> Iterator[tuple[Sampler, float]]:
    """Yield a sampler with a server of its own, and the seconds that it took to come up. Its first wave, which is
    slower, is over."""
    changes, environment = setting
    config = build_config(compose(["experiment=tiny", "sampler.startup_seconds=400", *changes]), "benchmark")
    began = time.perf_counter()
    with (
        patch.dict(os.environ, environment),
        open_sampler(
            folder, config.sampler, Template(tokenizer).decode, Path(tempfile.mkdtemp(dir=folder.parent), "vllm.log")
        ) as sampler,
    ):
        startup = time.perf_counter() - began
        seconds(sampler, -1)
        yield sampler, startup


def seconds(sampler: Sampler, round_: int) -> float:
    ids = tuple(range(5, 37))
    prompts = [Prompt(f"p{number}", ids, index) for number in range(PROMPTS) for index in range(GROUP)]
    began = time.perf_counter()
    found = list(sampler.sample(prompts, Sampling(1.0, 1.0, TOKENS), str(round_)))
    assert len(found) == PROMPTS * GROUP
    return (time.perf_counter() - began) / sum(len(rollout.token_ids) for rollout in found)


def main() -> None:
    commit = head()
    config = build_config(compose(["experiment=tiny"]), "benchmark")
    tokenizer = new_tokenizer(1024)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reforge-vllm-", dir="/dev/shm")))
        save_model(new_model(config.base["policy"].architecture, tokenizer, 0), tokenizer, folder / "model")
        plain, startup = stack.enter_context(server(folder / "model", tokenizer, AS_SET))
        claims = [claim("as in conf/sampler/cpu.yaml: until it answers", startup, "s")]
        runs = []
        for name, setting in SETTINGS.items():
            with server(folder / "model", tokenizer, setting) as (changed, startup):
                pairs = [(seconds(plain, number), seconds(changed, number)) for number in range(ROUNDS)]
            speed = statistics.median(before / after for before, after in pairs)
            claims += [
                claim(f"{name}: tokens per second, of those as set", speed, "times"),
                claim(f"{name}: until it answers", startup, "s"),
            ]
            runs.append({"setting": name, "startup": startup, "seconds per token, as set and with it": pairs})
    show(claims)
    write("pipelining_vllm", claims, runs, commit)


if __name__ == "__main__":
    main()
