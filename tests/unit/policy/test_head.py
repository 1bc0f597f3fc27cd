"""Chunked log-probs against the plain ones: values and both gradients, in any chunk."""

from collections.abc import Callable

import pytest
import torch

from reforge.policy import head
from reforge.policy.head import LogprobHead


def both(
    chunk: int, kept: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Ours and the plain computation: log-probs, entropies, and the gradients of both to states, weights and bias."""
    monkeypatch.setattr(head, "_LOGITS", 11 * chunk)
    monkeypatch.setattr(head, "_ROWS", 1)
    monkeypatch.setattr(head, "_KEPT", kept)
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(5, 11, bias=bias)
    states, ids = torch.randn(7, 5, generator=generator), torch.randint(0, 11, (7,), generator=generator)
    a, b = torch.randn(2, 7, generator=generator)
    found = []
    for plain in (False, True):
        hidden = states.clone().requires_grad_()
        linear.zero_grad()
        if plain:
            every = torch.log_softmax(linear(hidden) / 0.7, -1)
            logprobs, entropy = every.gather(-1, ids[:, None]).squeeze(-1), -(every.exp() * every).sum(-1)
        else:
            logprobs, entropy = LogprobHead(linear)(hidden, ids, 0.7)
        (logprobs * a + entropy * b).sum().backward()
        gradients = [hidden.grad, *(parameter.grad for parameter in linear.parameters())]
        found.append([logprobs.detach(), entropy.detach(), *(gradient.clone() for gradient in gradients)])
    return found[0], found[1]


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("kept", [0, 1000])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_the_plain_ones(
    chunk: int, kept: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ours, plain in zip(*both(chunk, kept, bias, monkeypatch), strict=True):
        assert torch.allclose(ours, plain, atol=1e-5)


@pytest.mark.parametrize("which", ["logprobs", "entropy"])
def test_either_may_be_left_out_of_the_loss(which: str) -> None:
    linear = torch.nn.Linear(4, 6)
    hidden, ids = torch.randn(3, 4, requires_grad=True), torch.tensor([0, 5, 2])
    logprobs, entropy = LogprobHead(linear)(hidden, ids, 1.0)
    (logprobs if which == "logprobs" else entropy).sum().backward()
    every = torch.log_softmax(linear(hidden), -1)
    plain = every.gather(-1, ids[:, None]).sum() if which == "logprobs" else -(every.exp() * every).sum()
    (expected,) = torch.autograd.grad(plain, hidden)
    assert torch.allclose(hidden.grad, expected, atol=1e-6)


def test_the_logits_of_all_rows_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor made on the way, forwards and backwards, is one chunk."""
    monkeypatch.setattr(head, "_LOGITS", 4 * 1000)
    monkeypatch.setattr(head, "_ROWS", 1)
    monkeypatch.setattr(head, "_KEPT", 0)
    linear = torch.nn.Linear(2, 1000, bias=False)
    hidden, ids = torch.randn(64, 2, requires_grad=True), torch.zeros(64, dtype=torch.long)
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (out if isinstance(out, tuple) else (out,)) if torch.is_tensor(t))
            return out

    with Watch():
        LogprobHead(linear)(hidden, ids, 1.0)[0].sum().backward()
    assert max(sizes) == 4 * 1000


def test_any_number_of_threads_gives_the_same_bits(
    set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for the few rows that a last chunk may have, where the bits of a plain product depend on it."""
    linear = torch.nn.Linear(128, 1024, bias=False)

    def run(threads: int, rows: int) -> list[torch.Tensor]:
        set_threads(threads)
        hidden = torch.randn(rows, 128, generator=torch.Generator().manual_seed(rows), requires_grad=True)
        logprobs, entropy = LogprobHead(linear)(hidden, torch.arange(rows), 0.7)
        return [logprobs, entropy, *torch.autograd.grad((logprobs + entropy).sum(), (hidden, linear.weight))]

    def differing(threads: int) -> list[int]:
        return [
            rows
            for rows in range(1, 80)
            if not all(torch.equal(a, b) for a, b in zip(run(1, rows), run(threads, rows), strict=True))
        ]

    assert [differing(threads) for threads in (2, 3, 4)] == [[], [], []]
    monkeypatch.setattr(head, "_UNSTEADY", range(0))
    if not differing(2):
        pytest.skip("on this processor a product of few rows comes out the same anyway")


def test_reductions_are_in_float32_where_the_weights_are_not() -> None:
    """In bfloat16 a log-softmax over a large vocabulary is off by a few percent."""
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(16, 5000, bias=False, dtype=torch.bfloat16)
    hidden = torch.randn(4, 16, generator=generator).to(torch.bfloat16)
    ids = torch.tensor([1, 2, 3, 4])
    logprobs, _ = LogprobHead(linear)(hidden, ids, 1.0)
    exact = torch.log_softmax(linear(hidden).double(), -1).gather(-1, ids[:, None]).squeeze(-1)
    assert logprobs.dtype == torch.float32
    assert torch.allclose(logprobs.double(), exact, atol=1e-5)
