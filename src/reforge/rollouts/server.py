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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from reforge.config.policy import SamplerConfig
from reforge.errors import InfrastructureError
from reforge.machine.process import free_port
from reforge.rollouts.flags import ALWAYS, PROMPT_ROOM
from reforge.rollouts.protocol import token_header
from reforge.rollouts.sampler import Sampler, VllmServer

_POLL_SECONDS = 0.25
_STOP_SECONDS = 10.0
_CAUSE_LINES = 4
# Fresh memory costs more than filling it, above all in a virtual machine: memory once taken is kept, in huge pages. A
# weight update of 1.5 billion parameters takes 1 s in place of 5 (docs/pipelining.md).
_KEEP_MEMORY = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1099511627776:glibc.malloc.trim_threshold=1099511627776"
)


@contextmanager
def open_sampler(
    folder: Path, config: SamplerConfig, decode: Callable[[Sequence[int]], str], log: Path
) -> Iterator[Sampler]:
    """Yield a sampler on `config.replicas` servers of its own, running the model in `folder`; or on those that
    `config.urls` names (which must see the same path), whatever model they run."""
    with ExitStack() as stack:
        if config.urls:
            servers = [VllmServer(url) for url in config.urls]
        else:
            logs = [log.with_stem(f"{log.stem}-{number}" if number else log.stem) for number in range(config.replicas)]
            opened = [_Own(folder, config, path, number) for number, path in enumerate(logs)]
            for server in opened:
                stack.callback(server.stop)
                server.begin()
            for server in opened:
                server.wait()
            servers = [VllmServer(server.url, server.restart) for server in opened]
        sampler = Sampler(servers, decode, config.parity_tolerance, config.patience_seconds)
        stack.callback(sampler.close)
        if config.urls:
            sampler.require_flags({**ALWAYS, "dtype": config.dtype})
        yield sampler


@contextmanager
def serving(folder: Path, config: SamplerConfig, log: Path) -> Iterator[VllmServer]:
    """Yield a server for the model in `folder`; it is stopped on leaving.

    Raises InfrastructureError with the cause found in `log` when it does not come up.
    """
    own = _Own(folder, config, log)
    try:
        own.begin()
        own.wait()
        yield VllmServer(own.url, own.restart)
    finally:
        own.stop()


def serve(folder: Path, config: SamplerConfig, log: Path, host: str, port: int, ready: Callable[[], None]) -> None:
    """Run a server for samplers of other processes, until it ends or this process is stopped. `ready` is called once
    the server is ready."""
    own = _Own(folder, config, log, host=host, port=port)
    try:
        own.begin()
        own.wait()
        ready()
        own.last()
    finally:
        own.stop()


class _Own:
    """A vLLM server of ours, as a child process; `number` says which of several it is."""

    def __init__(
        self, folder: Path, config: SamplerConfig, log: Path, number: int = 0, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.folder, self.config, self.log, self.number = folder, config, log, number
        self.host, self.port = host, port or free_port()
        reached = "127.0.0.1" if host in ("0.0.0.0", "localhost") else f"[{host}]" if ":" in host else host
        self.url = f"http://{reached}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        # The kernel ends the server when the thread that started it ends (vllm_main.py), so that thread must last.
        self._starter = ThreadPoolExecutor(1)

    def begin(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = _command(self.folder, self.host, self.port, self.config)
        environment = _environment(self.config, self.number)
        with self.log.open("w") as stream:
            start: Any = subprocess.Popen
            options = {"stdout": stream, "stderr": subprocess.STDOUT, "start_new_session": True}
            self._process = self._starter.submit(start, command, env=environment, **options).result()

    def wait(self) -> None:
        assert self._process is not None
        _wait_until_healthy(self._process, self.url, self.config.startup_seconds, self.log)

    def restart(self) -> None:
        self.stop()
        self.log.replace(self.log.with_suffix(".lost.log"))
        self.begin()
        self.wait()

    def last(self) -> None:
        """Wait until the server ends, then raise InfrastructureError; this never returns."""
        assert self._process is not None
        code = self._process.wait()
        raise InfrastructureError(f"vLLM ended with exit code {code}: {_cause(self.log)} Its whole log: {self.log}")

    def stop(self) -> None:
        if self._process is not None:
            _stop(self._process)


def _command(folder: Path, host: str, port: int, config: SamplerConfig) -> list[str]:
    options = {
        "--model": str(folder),
        "--host": host,
        "--port": str(port),
        "--dtype": config.dtype,
        "--max-num-seqs": str(config.max_sequences),
        "--max-num-batched-tokens": str(max(PROMPT_ROOM, _context(folder))),
        "--tensor-parallel-size": str(config.tensor_parallel),
        "--gpu-memory-utilization": str(config.gpu_memory_utilization),
        **{f"--{name}": str(ALWAYS[name]) for name in ("logprobs-mode", "generation-config", "seed")},
        "--middleware": "reforge.rollouts.vllm_plugin.Routes",
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
    """Return the tokens that the model can hold, for all of which vLLM asks for room; 0 where the model's config does
    not say, or is broken."""
    try:
        return int(json.loads((folder / "config.json").read_text())["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _environment(config: SamplerConfig, number: int) -> dict[str, str]:
    environment = dict(os.environ)
    environment |= {
        "VLLM_SERVER_DEV_MODE": "1",  # /collective_rpc: on loopback, or behind a token only
        "VLLM_CPU_KVCACHE_SPACE": str(config.memory_gb),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    environment.setdefault("GLIBC_TUNABLES", _KEEP_MEMORY)
    if config.enforce_eager:
        environment["TORCHDYNAMO_DISABLE"] = "1"  # else the first wave spends 12 s compiling the sampler
    if config.tensor_parallel == 1:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # on CPU "uni" is honoured only with this: 7 s less to wait
    if config.threads:
        environment["OMP_NUM_THREADS"] = str(config.threads)
    if config.devices:
        share = config.devices[number * config.tensor_parallel : (number + 1) * config.tensor_parallel]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, share))
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
            if httpx.get(f"{url}/health", timeout=2.0, headers=token_header()).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(_POLL_SECONDS)
    raise InfrastructureError(
        f"vLLM was not ready after {seconds:g} s: {_cause(log)} Raise sampler.startup_seconds if the machine is slow. "
        f"Its whole log: {log}"
    )


def _cause(log: Path) -> str:
    """Return the last error that the log names, with the lines that explain it; its last line where it names none."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "its log is empty."
    lines = [re.sub(r"^\(.*?pid=\d+\)\s*(ERROR [\d-]+ [\d:]+ \[.*?\])?\s*", "", line) for line in lines]
    named = [number for number, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)]
    causes = [number for number in named if "Engine core initialization failed" not in lines[number]]
    start = causes[-1] if causes else len(lines) - 1
    return " ".join(lines[start : start + _CAUSE_LINES]).rstrip(".") + "."


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and what it has started, even one that is suspended (SIGSTOP) and does not react."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
