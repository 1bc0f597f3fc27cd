"""Real ranks over gloo, forked or started by torchrun: they do what one does, and die together."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from reforge.machine.process import free_port
from tests.unit.training.forked import run
from tests.unit.training.policies import new_policy

ROOT = Path(__file__).parents[3]
MAIN = str(Path(__file__).with_name("ranks_main.py"))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
TWO = [*TORCHRUN, "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    new_policy(folder / "model")
    return folder


def start(folder: Path, spec: dict[str, Any], launcher: list[str]) -> subprocess.Popen[str]:
    command = [*launcher, MAIN, str(folder), json.dumps(spec)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, float]:
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    found = [line.split("METRICS ")[1] for line in output.splitlines() if "METRICS " in line]
    return dict(json.loads(found[0])) if found else {}


def distance(ours: Path, theirs: Path) -> float:
    a, b = load_file(ours), load_file(theirs)
    assert a.keys() == b.keys()
    gap = sum(float((a[name] - b[name]).double().square().sum()) for name in a)
    return float((gap / sum(float(b[name].double().square().sum()) for name in b)) ** 0.5)


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[Path, dict[str, float]]:
    """One rank, ZeRO 0: the gradient of one update, in large micro-batches."""
    path = folder / "alone.safetensors"
    learner = {"micro_batch_tokens": 1000}
    return path, run(folder, 1, steps=[1, 1], learner=learner, gradients=str(path), loss={"entropy": 0.01})


@pytest.mark.parametrize(
    "learner",
    [
        {"zero_stage": 0},
        {"zero_stage": 1, "activation_checkpointing": True},
        {"zero_stage": 2},
        {"zero_stage": 3, "activation_checkpointing": True},
        {"ranks": 2, "sequence_parallel": 2, "zero_stage": 3},
    ],
    ids=["0", "1", "2", "3", "ulysses"],
)
def test_trap_01_two_ranks_at_any_zero_stage_have_the_gradient_of_one(
    folder: Path, alone: tuple[Path, dict[str, float]], learner: dict[str, Any]
) -> None:
    path = folder / f"{learner['zero_stage']}-{learner.get('ranks')}.safetensors"
    given = {"micro_batch_tokens": 64, **learner}
    metrics = run(folder, 2, steps=[1, 1], learner=given, gradients=str(path), shuffle=3, loss={"entropy": 0.01})
    assert distance(path, alone[0]) < 1e-6
    assert metrics == pytest.approx(alone[1], rel=1e-5, abs=1e-6)


def test_a_checkpoint_of_two_ranks_goes_on_with_two_and_with_one(folder: Path) -> None:
    """Bitwise with as many ranks and the same ZeRO stage. With one rank the sums are of other parts: float32 differs in
    the last bits, which Adam's first steps, lr·g/|g| each, make larger: 1e-5 of weights that moved by 4e-3."""
    learner = {"zero_stage": 3, "micro_batch_tokens": 64}
    states = str(folder / "states")
    run(folder, 2, steps=[1, 4], learner=learner, out=str(folder / "whole"))
    run(folder, 2, steps=[1, 2], learner=learner, states=states, save=True)
    run(folder, 2, steps=[3, 4], learner=learner, states=states, out=str(folder / "two"))
    run(folder, 1, steps=[3, 4], learner=learner, states=states, out=str(folder / "one"))
    run(folder, 1, steps=[3, 4], learner={**learner, "zero_stage": 0}, states=states, out=str(folder / "none"))
    whole, two, one, none = (load_file(folder / name / "model.safetensors") for name in ("whole", "two", "one", "none"))
    before = load_file(folder / "model" / "model.safetensors")
    assert all(torch.equal(whole[name], two[name]) for name in whole)
    assert max(float((whole[name] - before[name]).abs().max()) for name in whole) > 3e-3
    for other in (one, none):
        assert max(float((whole[name] - other[name]).abs().max()) for name in whole) < 1e-5


def test_in_bfloat16_a_resumed_policy_is_bitwise_the_same(folder: Path) -> None:
    """The float32 weights behind the bfloat16 ones are in the checkpoint."""
    learner, states = {"zero_stage": 1, "dtype": "bfloat16"}, str(folder / "states16")
    run(folder, 1, steps=[1, 3], learner=learner, out=str(folder / "whole16"))
    run(folder, 1, steps=[1, 2], learner=learner, states=states, save=True)
    run(folder, 1, steps=[3, 3], learner=learner, states=states, out=str(folder / "resumed16"))
    whole, resumed = (load_file(folder / name / "model.safetensors") for name in ("whole16", "resumed16"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert {value.dtype for value in whole.values()} == {torch.bfloat16}


def test_lora_is_merged_for_the_sampler_and_trains_nothing_else(folder: Path) -> None:
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]}
    for ranks, zero in ((1, 0), (2, 3)):
        run(folder, ranks, steps=[1, 2], learner={"lora": lora, "zero_stage": zero}, out=str(folder / f"lora{ranks}"))
    before = load_file(folder / "model" / "model.safetensors")
    one, two = (load_file(folder / f"lora{ranks}" / "model.safetensors") for ranks in (1, 2))
    assert one.keys() == two.keys() == before.keys()
    changed = {name for name in one if not torch.equal(one[name], before[name])}
    assert changed == {name for name in before if "q_proj.weight" in name or "down_proj.weight" in name}
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)


def test_two_torchruns_on_two_addresses_do_what_one_does(folder: Path) -> None:
    """Two machines, as far as one can have them: each has its launcher, its rank and its loopback address."""
    spec: dict[str, Any] = {"steps": [1, 2], "learner": {"zero_stage": 3, "micro_batch_tokens": 64}}
    run(folder, 2, **spec, out=str(folder / "together"))
    shared = [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1"]
    port = str(free_port())
    apart = {**spec, "out": str(folder / "apart")}
    nodes = [
        start(
            folder,
            apart,
            [*shared, "--master-port", port, "--node-rank", str(number), "--local-addr", f"127.0.0.{number + 1}"],
        )
        for number in (0, 1)
    ]
    for node in nodes:
        finish(node)
    a, b = (load_file(folder / name / "model.safetensors") for name in ("together", "apart"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def waiting(folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Two ranks between two orders: rank 0 is busy with something else, rank 1 waits for it."""
    ready = tmp_path / "ready"
    process = start(folder, {"steps": [1, 1], "learner": {"zero_stage": 3}, "wait": str(ready)}, TWO)
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.1)
    ranks = [child for child in psutil.Process(process.pid).children() if MAIN in child.cmdline()]
    assert len(ranks) == 2
    yield process, ranks
    process.kill()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_takes_the_others_with_it(
    waiting: tuple[subprocess.Popen[str], list[psutil.Process]], victim: int
) -> None:
    process, ranks = waiting
    ranks[victim].send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=1200)
    assert process.returncode != 0
    assert "SIGKILL" in output
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)
