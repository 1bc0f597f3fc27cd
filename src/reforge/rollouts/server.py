"""A vLLM server as a supervised child process, on loopback, with a log that is read when it fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from reforge.config.policy import Sampler as SamplerConfig
from reforge.errors import InfrastructureError
from reforge.process import free_port
from reforge.rollouts.sampler import Sampler

_POLL_SECONDS = 0.25
_STOP_SECONDS = 10.0
_CAUSE_LINES = 4
_PROMPT_ROOM = 65536  # tokens prefilled in one engine step: a seeded prompt must never be split (CPU engine dies)


@contextmanager
def open_sampler(
    folder: Path, config: SamplerConfig, decode: Callable[[Sequence[int]], str], log: Path
) -> Iterator[Sampler]:
    """A sampler running the model in `folder`: on a server of its own, or on those that `config.urls` names (which
    must see the same path)."""
    if config.urls:
        sampler = Sampler(config.urls, decode)
        sampler.load_weights(str(folder), 0)
        yield sampler
        return
    with serving(folder, config, log) as url:
        yield Sampler([url], decode)


@contextmanager
def serving(folder: Path, config: SamplerConfig, log: Path) -> Iterator[str]:
    """Yield the base URL of a server for the model in `folder`; the server is stopped on leaving.

    Raises InfrastructureError with the cause found in `log` when it does not come up.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with log.open("w") as stream:
        process = subprocess.Popen(
            _command(folder, port, config), stdout=stream, stderr=subprocess.STDOUT, env=_environment(config)
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(process, url, config.startup_seconds, log)
        yield url
    finally:
        _stop(process)


def _command(folder: Path, port: int, config: SamplerConfig) -> list[str]:
    options = {
        "--model": str(folder),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": config.dtype,
        "--max-num-seqs": str(config.max_sequences),
        "--max-num-batched-tokens": str(max(_PROMPT_ROOM, _context(folder))),
        "--tensor-parallel-size": str(config.tensor_parallel),
        "--gpu-memory-utilization": str(config.gpu_memory_utilization),
        "--logprobs-mode": "processed_logprobs",  # after the temperature, as the learner computes them
        "--generation-config": "vllm",  # the model folder's own sampling defaults must not slip in
        "--middleware": "reforge.rollouts.vllm_plugin.WaveMiddleware",
        "--worker-extension-cls": "reforge.rollouts.vllm_plugin.WeightUpdate",
    }
    flags = ["--no-enable-chunked-prefill", "--no-enable-prefix-caching"]
    if config.enforce_eager:
        flags.append("--enforce-eager")
    if config.tensor_parallel == 1:
        flags += ["--distributed-executor-backend", "uni"]  # one worker needs no process of its own
    module = "reforge.rollouts.vllm_main"
    return [sys.executable, "-m", module, *(word for pair in options.items() for word in pair), *flags]


def _context(folder: Path) -> int:
    """What the model can hold; vLLM asks for room for all of it. 0 where its config does not say, or is broken."""
    try:
        return int(json.loads((folder / "config.json").read_text())["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _environment(config: SamplerConfig) -> dict[str, str]:
    environment = dict(os.environ)
    environment |= {
        "VLLM_SERVER_DEV_MODE": "1",  # /collective_rpc; the server listens on loopback only
        "VLLM_CPU_KVCACHE_SPACE": f"{config.memory_gb:g}",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    if config.enforce_eager:
        environment["TORCHDYNAMO_DISABLE"] = "1"  # else the first wave spends 12 s compiling the sampler
    if config.tensor_parallel == 1:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # on CPU "uni" is honoured only with this: 7 s less to wait
    if config.threads:
        environment["OMP_NUM_THREADS"] = str(config.threads)
    return environment


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise InfrastructureError(
                f"vLLM ended with exit code {process.returncode} before it was ready: {_cause(log)} "
                f"Its whole log: {log}"
            )
        try:
            if httpx.get(f"{url}/health", timeout=2.0).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(_POLL_SECONDS)
    raise InfrastructureError(
        f"vLLM was not ready after {seconds:g} s: {_cause(log)} Raise sampler.startup_seconds if the machine is slow. "
        f"Its whole log: {log}"
    )


def _cause(log: Path) -> str:
    """The last error that the log names, with the lines that explain it; its last line where it names none."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "its log is empty."
    lines = [re.sub(r"^\(.*?pid=\d+\)\s*(ERROR [\d-]+ [\d:]+ \[.*?\])?\s*", "", line) for line in lines]
    named = [number for number, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)]
    causes = [number for number in named if "Engine core initialization failed" not in lines[number]]
    start = causes[-1] if causes else len(lines) - 1
    return " ".join(lines[start : start + _CAUSE_LINES]).rstrip(".") + "."


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
