"""Parity with TRL's GRPOTrainer: on one frozen batch the loss and every gradient are the same, for each variant that
both have. Where we differ on purpose, the test says why."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.learner.trl_peer import new_trainer
from reforge.config.training import Kl
from reforge.objective.losses import KL, Tokens, policy_loss, token_weights
from reforge.policy.batches import Row, build_batch
from reforge.policy.model import TokenLogprobs, load_model
from tests.unit.training.policies import VOCABULARY, new_policy, objective

TEMPERATURE = 0.9
LENGTHS = [3, 5, 2, 40, 7, 5, 5, 11, 70, 1, 4, 9]  # long-tailed; three groups of four
ADVANTAGES = [1.0, -0.5, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 1.2, -0.8, -0.6, 0.2]
CONSTANT = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_policy(tmp_path_factory.mktemp("policy"))


def trl_trainer(folder: Path) -> Any:
    return new_trainer(folder, temperature=TEMPERATURE, max_completion_length=CONSTANT, num_generations=4)


@pytest.fixture(scope="module")
def trainer(folder: Path) -> Any:
    return trl_trainer(folder)


def sequences() -> list[Row]:
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, VOCABULARY, (count,), generator=generator).tolist())

    return [Row(some(2 + number % 3), some(length), 0.0, 0.0, ()) for number, length in enumerate(LENGTHS)]


def near_policy(folder: Path, scale: float, seed: int) -> list[torch.Tensor]:
    """Log-probs of each row by the policy itself, disturbed: an older policy, a sampler, a reference."""
    generator = torch.Generator().manual_seed(seed)
    network = TokenLogprobs(load_model(folder))
    with torch.no_grad():
        found = []
        for row in sequences():
            (micro,) = build_batch([row], 1000).micro_batches
            logprobs = network(*micro.inputs, TEMPERATURE)[0]
            found.append(logprobs + scale * torch.randn(len(logprobs), generator=generator))
    return found


def theirs(
    trainer: Any, folder: Path, settings: dict[str, Any], kept: list[bool]
) -> tuple[float, dict[str, torch.Tensor]]:
    rows, width = sequences(), max(LENGTHS)

    def right(values: list[Any]) -> torch.Tensor:
        return torch.stack([torch.nn.functional.pad(torch.as_tensor(v), (0, width - len(v))) for v in values])

    longest = max(len(row.prompt_ids) for row in rows)
    masks = [torch.ones(length, dtype=torch.long) * keep for length, keep in zip(LENGTHS, kept, strict=True)]
    inputs: dict[str, Any] = {
        "prompt_ids": torch.tensor([[0] * (longest - len(row.prompt_ids)) + list(row.prompt_ids) for row in rows]),
        "prompt_mask": torch.tensor(
            [[0] * (longest - len(row.prompt_ids)) + [1] * len(row.prompt_ids) for row in rows]
        ),
        "completion_ids": right([row.token_ids for row in rows]),
        "completion_mask": right(masks),
        "advantages": torch.tensor(ADVANTAGES),
        "old_per_token_logps": right(near_policy(folder, 0.3, 1)),
        "ref_per_token_logps": right(near_policy(folder, 0.2, 2)),
        "num_items_in_batch": torch.tensor(sum(int(mask.sum()) for mask in masks)),
    }
    if mode := settings.get("vllm_importance_sampling_mode"):
        gap = (inputs["old_per_token_logps"] - right(near_policy(folder, 0.3, 3))) * inputs["completion_mask"]
        ratio = (gap.sum(-1, keepdim=True) if "sequence" in mode else gap).exp()
        inputs["importance_sampling_ratio"] = (
            ratio.clamp(max=2.0) if "truncate" in mode else ratio.masked_fill(ratio > 2.0, 0.0)
        )
    trainer.loss_type = settings.get("loss_type", "dapo")
    trainer.importance_sampling_level = settings.get("importance_sampling_level", "token")
    trainer.epsilon_low, trainer.epsilon_high = 0.2, 0.28
    trainer.args.delta = settings.get("delta")
    trainer.beta = settings.get("beta", 0.0)
    trainer.args.use_bias_correction_kl = settings.get("use_bias_correction_kl", False)
    trainer.use_vllm = mode is not None
    trainer.entropy_coef = settings.get("entropy_coef", 0.0)
    trainer._entropy_bonus_enabled = bool(trainer.entropy_coef)
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return float(loss), {name: p.grad.clone() for name, p in trainer.model.named_parameters()}


def ours(
    folder: Path, settings: dict[str, Any], kept: list[bool], budget: int
) -> tuple[float, dict[str, torch.Tensor]]:
    config = objective(temperature=TEMPERATURE, **settings).loss
    old, reference, sampler = (near_policy(folder, *how) for how in ((0.3, 1), (0.2, 2), (0.3, 3)))
    chosen = [number for number, keep in enumerate(kept) if keep]
    shares = token_weights([LENGTHS[number] for number in chosen], config)
    rows = [
        Row(
            row.prompt_ids,
            row.token_ids,
            share,
            ADVANTAGES[number],
            tuple(range(number * 1000, number * 1000 + LENGTHS[number])),
        )
        for number, share in zip(chosen, shares, strict=True)
        for row in [sequences()[number]]
    ]
    model = load_model(folder)
    network = TokenLogprobs(model)
    total = 0.0
    for micro in build_batch(rows, budget).micro_batches:
        logprobs, entropy = network(*micro.inputs, TEMPERATURE)
        place = [divmod(int(code), 1000) for code in micro.sampler_logprobs_N.tolist()]  # row and token of each

        def pick(values: list[torch.Tensor], place: Any = place) -> torch.Tensor:
            return torch.stack([values[row][token] for row, token in place])

        tokens = Tokens(
            logprobs, entropy, pick(old), pick(sampler), pick(reference),
            micro.advantages_N, micro.token_weights_N, micro.rows_N,
        )  # fmt: skip
        loss, _ = policy_loss(tokens, config)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total, {name: p.grad for name, p in model.named_parameters()}


def assert_same(mine: tuple[float, dict[str, torch.Tensor]], other: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert mine[0] == pytest.approx(other[0], rel=1e-5)
    assert mine[1].keys() == other[1].keys()
    for name, gradient in other[1].items():
        assert float((mine[1][name] - gradient).norm() / gradient.norm()) < 1e-5, name


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "token mean (dapo)": ({}, {"loss_type": "dapo"}),
    "sequence mean (grpo)": ({"mean": "sequence"}, {"loss_type": "grpo"}),
    "constant length (dr_grpo)": ({"mean": "constant", "constant_length": CONSTANT}, {"loss_type": "dr_grpo"}),
    "sequence ratio (gspo)": (
        {"mean": "sequence", "ratio": "sequence"},
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    ),
    "dual clip (delta)": ({"dual_clip": 1.3}, {"delta": 1.3}),
    "kl k3": (
        {"kl": {"estimator": "k3", "coefficient": 0.1, "weighted": False}},
        {"beta": 0.1, "use_bias_correction_kl": False},
    ),
    "kl k3, weighted": (
        {"kl": {"estimator": "k3", "coefficient": 0.1, "weighted": True}},
        {"beta": 0.1, "use_bias_correction_kl": True},
    ),
    "entropy": ({"entropy": 0.05}, {"entropy_coef": 0.05}),
    **{
        f"correction {level} {theirs}": (
            {"correction": {"level": level, "above": above, "limit": 2.0}},
            {"vllm_importance_sampling_mode": f"{level}_{theirs}"},
        )
        for level in ("token", "sequence")
        for above, theirs in (("clamp", "truncate"), ("mask", "mask"))
    },
}
ALL = [True] * len(LENGTHS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_gradients_are_trls(trainer: Any, folder: Path, variant: str) -> None:
    mine, other = VARIANTS[variant]
    assert_same(ours(folder, mine, ALL, budget=100), theirs(trainer, folder, other, ALL))


def test_the_comparison_can_fail(trainer: Any, folder: Path) -> None:
    with pytest.raises(AssertionError):
        assert_same(ours(folder, {"mean": "sequence"}, ALL, 100), theirs(trainer, folder, {}, ALL))


FILTERED = [number not in (3, 8) for number in range(len(LENGTHS))]  # the two long ones were truncated


def test_truncated_rollouts_leave_the_token_mean_in_both(trainer: Any, folder: Path) -> None:
    assert_same(ours(folder, {}, FILTERED, 100), theirs(trainer, folder, {}, FILTERED))


def test_truncated_rollouts_leave_our_sequence_mean_but_not_trls(trainer: Any, folder: Path) -> None:
    """On purpose: there a truncated rollout adds 0 to the sum and 1 to the count, so the step shrinks with the share of
    truncated ones (TRL#6369); here a mean over rollouts is over those that count."""
    loss, gradients = ours(folder, {"mean": "sequence"}, FILTERED, 100)
    share = sum(FILTERED) / len(FILTERED)
    scaled = loss * share, {name: gradient * share for name, gradient in gradients.items()}
    assert_same(scaled, theirs(trainer, folder, {"loss_type": "grpo"}, FILTERED))


def test_their_local_mean_is_ours_only_where_there_is_one_micro_batch(trainer: Any, folder: Path) -> None:
    """On purpose: TRL's bnpo takes the mean of each micro-batch, so its gradient depends on how the batch is cut."""
    assert_same(ours(folder, {}, ALL, 10_000), theirs(trainer, folder, {"loss_type": "bnpo"}, ALL))


def test_trl_has_no_other_estimator_of_kl() -> None:
    """k1 and k2 are ours alone: by hand in test_losses.py."""
    assert set(KL) == set(Kl.model_fields["estimator"].annotation.__args__)  # type: ignore[union-attr]
