import os

import pytest
import torch

from reforge.frame.determinism import make_deterministic, seed_of


@pytest.mark.parametrize("profile", ["fast", "strict"])
def test_strict_allows_only_operations_that_come_out_the_same(profile, monkeypatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = torch.are_deterministic_algorithms_enabled()
    try:
        make_deterministic(5, profile)
        assert torch.are_deterministic_algorithms_enabled() == (profile == "strict")
        assert (os.environ.get("CUBLAS_WORKSPACE_CONFIG") == ":4096:8") == (profile == "strict")
        assert (os.environ.get("VLLM_CPU_ATTN_SPLIT_KV") == "0") == (profile == "strict")
        first = torch.rand(2)
        make_deterministic(5, profile)
        assert torch.equal(first, torch.rand(2))
    finally:
        torch.use_deterministic_algorithms(before)


def test_gpu_kernels_that_know_nothing_of_their_batch_are_asked_for_where_there_is_a_gpu(monkeypatch) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    for gpu, profile, asked in ((True, "strict", "1"), (False, "strict", None), (True, "fast", None)):
        monkeypatch.setattr(os, "environ", {})
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        make_deterministic(5, profile)
        assert os.environ.get("VLLM_BATCH_INVARIANT") == asked
    torch.use_deterministic_algorithms(before)


def test_stages_have_seeds_of_their_own() -> None:
    seeds = {seed_of(seed, name) for seed in range(50) for name in ("sft", "rl@short", "rl@long")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)
