"""An update as a whole: it does not depend on how the batch is cut, and it does not go wrong silently."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reforge.config.training import Guards
from reforge.errors import UserError
from reforge.policy import head
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import Learner
from reforge.policy.lora import merged
from reforge.training.handover import publish
from reforge.training.learn import refuse
from reforge.training.update import Objective, imitate, update
from tests.unit.training.policies import ARCHITECTURE, LOSS, new_policy, objective, open_policy, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_policy(tmp_path_factory.mktemp("policy"))


def gradient(learner: Learner, what: Objective, budget: int, order: list[int] | None = None) -> dict[str, torch.Tensor]:
    """Of one update, which is then taken back."""
    given_ = rows(0, what.loss)
    chosen = given_ if order is None else [given_[place] for place in order]
    found: dict[str, torch.Tensor] = {}
    learner.gradient_norm = lambda: found.update({n: g.clone() for n, g in learner.gradients()}) or math.nan  # type: ignore[method-assign]
    try:
        _, bad = update(learner, [build_batch(chosen, budget)], what)
    finally:
        del learner.gradient_norm
    assert [one.why for one in bad] == ["the norm of the gradient is nan"]
    return found


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    gap = sum(float((ours[name] - theirs[name]).double().square().sum()) for name in theirs)
    return math.sqrt(gap / sum(float(value.double().square().sum()) for value in theirs.values()))


VARIANTS: list[dict[str, Any]] = [
    {},
    {"mean": "sequence"},
    {"mean": "constant", "constant_length": 100},
    {"mean": "sequence", "ratio": "sequence"},
    {"correction": {"level": "sequence", "above": "clamp", "limit": 2.0}},
    {"entropy": 0.01},
]


@pytest.fixture(scope="module")
def learner(folder: Path) -> Learner:
    return open_policy(folder)


@given(st.sampled_from(VARIANTS), st.integers(64, 300), st.randoms(use_true_random=False))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_trap_01_the_gradient_does_not_depend_on_the_cut_or_the_order(
    learner: Learner, variant: dict[str, Any], budget: int, random: Any
) -> None:
    what = objective(**variant)
    order = list(range(len(rows(0, what.loss))))
    random.shuffle(order)
    assert distance(gradient(learner, what, budget, order), gradient(learner, what, 10_000)) < 1e-6


def test_the_comparison_of_gradients_can_fail(learner: Learner) -> None:
    one, other = objective(), objective(mean="sequence")
    assert distance(gradient(learner, one, 64), gradient(learner, other, 64)) > 0.1


def test_any_number_of_threads_trains_the_same_weights(
    tmp_path: Path, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 151 tokens that are trained the head's last chunk has 7: too few for a plain product. (With one head of keys
    torch's attention has a single piece of work, on several threads, and its gradients change with their number.)"""
    folder = new_policy(tmp_path, ARCHITECTURE.model_copy(update={"kv_heads": 2}))
    monkeypatch.setattr(head, "_LOGITS", 1)
    monkeypatch.setattr(head, "_ROWS", 48)

    def trained(threads: int) -> list[torch.Tensor]:
        learner = open_policy(folder, threads=threads)
        metrics = [update(learner, [build_batch(rows(0), 1000)], objective())[0] for _ in range(5)]
        assert metrics[0]["tokens/trained"] == 151
        return [torch.tensor(list(metrics[-1].values())), *learner.model.state_dict().values()]

    def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    assert all(same(trained(1), trained(threads)) for threads in (2, 3, 4))
    monkeypatch.setattr(head, "_UNSTEADY", range(0))
    if same(trained(1), trained(2)):
        pytest.skip("on this processor a product of few rows comes out the same anyway")


def test_the_norm_of_a_large_gradient_is_the_same_on_any_number_of_threads(
    learner: Learner, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain sum is not: torch deals large ones to threads."""
    gradients = torch.randn(20, 250_000, generator=torch.Generator().manual_seed(0))

    def norm(gradient: torch.Tensor) -> float:
        monkeypatch.setattr(learner, "gradients", lambda: [("weight", gradient)])
        return learner.gradient_norm()

    norms, sums = set[tuple[float, ...]](), set[tuple[float, ...]]()
    for threads in (1, 2, 3, 4):
        set_threads(threads)
        norms.add(tuple(norm(gradient) for gradient in gradients))
        sums.add(tuple(float(gradient.square().sum().sqrt()) for gradient in gradients))
    assert len(norms) == 1
    assert len(sums) > 1
    assert norms.pop() == pytest.approx(gradients.double().norm(dim=1).tolist(), rel=1e-6)


def test_trap_11_the_first_update_is_exactly_on_policy(folder: Path) -> None:
    metrics, bad = update(open_policy(folder), [build_batch(rows(0), 96)], objective())
    assert not bad
    assert (metrics["ratio/mean"], metrics["ratio/max"], metrics["kl/old"]) == (1.0, 1.0, 0.0)
    assert metrics["clip/low"] == metrics["clip/high"] == 0.0


def test_trap_23_the_second_update_of_a_step_is_off_policy_and_says_so(folder: Path) -> None:
    """DeepCoder's 16K recipe makes two updates of each batch of rollouts; the ratio is to the policy before both."""
    batches = [build_batch(rows(number), 96) for number in (0, 1)]
    metrics, _ = update(open_policy(folder), batches, objective(learning_rate=1e-2))
    assert metrics["updates"] == 2.0
    assert metrics["ratio/max"] > 1.001
    still, _ = update(open_policy(folder), batches, objective(learning_rate=0.0))
    assert (still["ratio/mean"], still["ratio/max"]) == (1.0, 1.0)  # verl#6280: not if micro-batches were cut anew


def test_trap_12_nothing_drifts_at_learning_rate_zero(folder: Path) -> None:
    learner = open_policy(folder, weight_decay=0.0)
    found = [update(learner, [build_batch(rows(0), 96)], objective(learning_rate=0.0))[0] for _ in range(20)]
    assert all(metrics == found[0] for metrics in found)
    assert found[0]["gap/max"] > 0.1  # these rollouts are not the policy's own


def bad_batch(kind: str) -> tuple[list[Row], Objective]:
    given_ = rows(0)
    if kind == "loss":
        return [
            given_[0],
            Row(*((5,), (6, 7)), token_weight=math.nan, advantage=1.0, logprobs=(-1.0, -1.0)),
        ], objective()
    if kind == "advantage":
        return [Row((5,), (6,), 1.0, math.inf, (-1.0,))], objective()
    return [Row((5,), (6,), 1.0, -1.0, (-100.0,))], objective(
        correction={"level": "token", "above": "clamp", "limit": 3e38}
    )


metrics_of_none = ("updates", "tokens/trained")


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["loss", "advantage", "gap"])
def test_a_bad_update_is_named_and_leaves_no_trace(folder: Path, kind: str, zero_stage: int) -> None:
    """After it the next update is what it would have been; DeepSpeed alone skips some of them without a word."""
    learner, clean = (open_policy(folder, zero_stage=zero_stage) for _ in range(2))
    given_, what = bad_batch(kind)
    metrics, bad = update(learner, [build_batch(given_, 96)], what)
    assert len(bad) == 1
    assert re.search("(loss|norm of the gradient) is -?(nan|inf)|gap/k3 is inf", bad[0].why)
    assert bad[0].wrong_sampler == (kind == "gap")
    assert {name: metrics.pop(name) for name in ("updates", "tokens/trained")} == dict.fromkeys(metrics_of_none, 0.0)
    assert not all(map(math.isfinite, metrics.values()))  # loss and gradient show why
    after = [update(policy, [build_batch(rows(1), 96)], objective())[0] for policy in (learner, clean)]
    assert after[0] == after[1]
    weights = [merged(policy.model, keep=True) for policy in (learner, clean)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_no_batch_is_no_update(learner: Learner) -> None:
    """Where all groups of a step teach nothing and the guards let it pass."""
    before = merged(learner.model, keep=True)
    assert update(learner, [], objective()) == ({"updates": 0.0, "tokens/trained": 0.0}, [])
    assert all(torch.equal(before[name], value) for name, value in merged(learner.model, keep=True).items())


def test_an_exploding_ratio_is_named(folder: Path) -> None:
    what = objective(learning_rate=1.0)
    guards = Guards(truncated=1.0, ratio=1.5, gap=1e6, bad_update="stop", nothing_to_learn="skip")
    strict = Objective(what.loss, 1.0, 1.0, 1.0, guards)
    metrics, bad = update(open_policy(folder), [build_batch(rows(number), 96) for number in (0, 1)], strict)
    assert "times as probable (rl.*.guards.ratio = 1.5)" in bad[0].why
    assert metrics["updates"] == 1.0


def test_supervised_steps_learn_and_stop_at_what_is_not_finite(folder: Path) -> None:
    learner = open_policy(folder)
    row = Row((5,), (6, 7, 8), 1 / 3)
    losses = [imitate(learner, build_batch([row], 96), 1e-2)[0] for _ in range(5)]
    assert losses[-1] < losses[0] - 0.1
    before = [parameter.clone() for parameter in learner.model.parameters()]
    loss, _ = imitate(learner, build_batch([Row((5,), (6,), math.nan)], 96), 1e-2)
    assert not math.isfinite(loss)
    assert all(map(torch.equal, before, learner.model.parameters()))


def test_the_reference_is_the_first_policy_and_only_there_when_used(folder: Path) -> None:
    kl = {"estimator": "k3", "coefficient": 0.1, "weighted": False}
    learner = open_policy(folder, reference=True)
    batch = [build_batch(rows(0), 96)]
    first, _ = update(learner, batch, objective(kl=kl, learning_rate=1e-2))
    later, _ = update(learner, batch, objective(kl=kl, learning_rate=1e-2))
    assert first["kl/reference"] == pytest.approx(0.0, abs=1e-7)
    assert later["kl/reference"] > 1e-5
    assert open_policy(folder).reference is None
    assert "kl/reference" not in update(learner, batch, objective())[0]


def test_loss_of_defaults_is_what_the_tests_say() -> None:
    assert objective().loss.model_dump() == LOSS


@pytest.mark.parametrize("rule", ["stop", "skip"])
def test_a_sampler_that_is_not_the_policy_stops_the_run_whatever_is_skipped(folder: Path, rule: Any) -> None:
    """The rollouts' log-probs are not the policy's own: -5 where it says about -5.7."""
    learner, what = open_policy(folder), objective()
    guards = Guards(truncated=1.0, ratio=1e6, gap=0.01, bad_update=rule, nothing_to_learn="skip")
    before = merged(learner.model, keep=True)
    strict = Objective(what.loss, what.temperature, 1e-3, 1.0, guards)
    metrics, bad = update(learner, [build_batch(rows(0), 96)], strict)
    assert [one.wrong_sampler for one in bad] == [True]
    assert metrics["updates"] == 0.0
    assert all(torch.equal(before[name], value) for name, value in merged(learner.model, keep=True).items())
    with pytest.raises(UserError, match=r"Step 3: gap/k3 is .* \(rl\.\*\.guards\.gap = 0\.01\).*reforge sampler serve"):
        refuse(bad, rule, 3)


def test_a_policy_that_is_not_finite_is_handed_to_nobody(folder: Path, tmp_path: Path) -> None:
    learner = open_policy(folder)
    assert publish(learner, tmp_path, 1, [[5, 6, 7]], None, 0.6).version == 1
    with torch.no_grad():
        next(learner.model.parameters()).fill_(math.nan)
    with pytest.raises(UserError, match=r"Policy version 2, .* is not finite"):
        publish(learner, tmp_path, 2, [[5, 6, 7]], None, 0.6)
