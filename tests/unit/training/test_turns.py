"""Two turns through the real loop: a scripted environment and sampler, a real learner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.config.training import Rl
from reforge.errors import UserError
from reforge.policy.batches import Row, build_batch
from reforge.policy.learner import Learner
from reforge.policy.model import TokenLogprobs, load_model
from reforge.records import Prompt, Reward, Rollout, Status, Verdict
from reforge.rollouts.digests import read_digests
from reforge.rollouts.play import Past, play
from reforge.rollouts.sampler import Weights
from reforge.rollouts.store import read_table, to_groups
from reforge.tracking.timeline import Timeline
from reforge.training import grpo
from reforge.training.learn import advantages_of
from reforge.training.recorder import Recorder
from tests.unit.training.policies import new_policy, open_policy

# problem → attempt → what its turns earn
REWARDS = {"p": [[0.0, 1.0], [0.5, 0.0]], "q": [[1.0, None], [0.0, 1.0]]}
QUESTION = (5, 6, 7)
BY_HAND = {
    0.0: {"p": [-0.375, 0.625, 0.125, -0.375], "q": [None, None, -0.5, 0.5]},
    0.4: {"p": [-0.075, 0.525, 0.025, -0.475], "q": [None, None, -0.3, 0.3]},
    1.0: {"p": [0.375, 0.375, -0.125, -0.625], "q": [None, None, 0.0, 0.0]},
}


class TwoTurns:
    """The second question is the first with what was answered."""

    def prompt(self, problem_id: str, past: Past) -> tuple[int, ...] | None:
        return QUESTION + tuple(token for one, _ in past for token in one.token_ids)

    def grade(self, rollout: Rollout) -> Reward:
        value = REWARDS[rollout.problem_id][rollout.index][rollout.turn]
        status = Status.INFRASTRUCTURE if value is None else Status.WRONG_ANSWER
        return Reward(value, None if value is None else value == 1.0, {}, Verdict(status))


class Script:
    """A sampler that answers what is written here, with log-probs of its own."""

    pause_seconds = 0.0

    def load(self, weights: Weights) -> float:
        return 0.0

    def sample(self, wave: Sequence[Prompt]) -> Iterator[Rollout]:
        for one in reversed(wave):
            tokens = (20 + one.index, 30 + one.turn, *(40,) * one.turn)
            where, count = (one.problem_id, one.index), len(tokens)
            yield Rollout(*where, 0, (0,) * count, one.token_ids, tokens, (-5.0,) * count, "stop", "", one.turn)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return new_policy(tmp_path / "model")


def config_of(discount: float, over: str = "turns") -> Rl:
    values = {"batch": 2, "group_size": 2, "staleness": 0, "advantage": "centred", "steps": 1, "learning_rate": 0.0}
    rl = build_config(compose(["experiment=smoke"]), "test").rl["short"]
    returns = rl.returns.model_copy(update={"discount": discount, "over": over})
    loss = rl.loss.model_copy(update={"correction": None})
    guards = rl.guards.model_copy(update={"gap": 1e9})  # the script's log-probs are nobody's
    return rl.model_copy(update={**values, "returns": returns, "loss": loss, "guards": guards})


def trained(learner: Learner, config: Rl, folder: Path) -> dict[str, float]:
    """Run the loop for one step; what it says of it."""
    found: dict[str, float] = {}
    script, clock = Script(), iter(range(10**6))
    with ThreadPoolExecutor(2) as pool:
        draw = lambda step: play(TwoTurns(), script.sample, ["p", "q"], 2, 2, pool, 99)  # noqa: E731
        run = grpo.Run(
            learner=learner,
            sampler=script,  # type: ignore[arg-type]
            draw=draw,
            canaries=[QUESTION],
            config=config,
            recorder=Recorder(folder / "rollouts", lambda *_: None),
            weights_folder=folder / "weights",
            timeline=Timeline(folder / "timeline.json", lambda: float(next(clock))),
            after_step=lambda step, metrics, timings: found.update(metrics),
        )
        grpo.train(run)
    return found


@pytest.mark.parametrize("discount", list(BY_HAND))
def test_each_turn_is_a_sample_with_its_own_context_and_return(discount: float, model: Path, tmp_path: Path) -> None:
    found = trained(open_policy(model), config_of(discount), tmp_path)
    rows = read_table(tmp_path / "rollouts" / "step-00001.parquet").to_pylist()
    assert [(row["problem_id"], row["index"], row["turn"]) for row in rows] == [
        (problem, index, turn) for problem in "pq" for index in (0, 1) for turn in (0, 1)
    ]
    assert [row["prompt_ids"] for row in rows[:2]] == [[5, 6, 7], [5, 6, 7, 20, 30]]
    for problem, advantages in BY_HAND[discount].items():
        assert [row["advantage"] for row in rows if row["problem_id"] == problem] == [
            value if value is None else pytest.approx(value) for value in advantages
        ]
    # of p one attempt of two has solved it in its last turn, of q both have, one of them before the machine failed
    assert (found["infra"], found["reward/solved_some"], found["reward/solved_all"]) == (1.0, 0.5, 0.5)
    record = read_digests(tmp_path / "rollouts" / "step-00001.json")
    assert list(record.rollouts)[:4] == ["p/0", "p/0.1", "p/1", "p/1.1"]


def test_attempts_are_compared_with_attempts_and_all_turns_of_one_share_its_advantage(model: Path) -> None:
    """Of p, attempt 0 earned 0 + 0.4 · 1 and attempt 1 earned 0.5: half of the difference each."""
    config = config_of(0.4, over="attempts")
    with ThreadPoolExecutor(1) as pool:
        groups = play(TwoTurns(), Script().sample, ["p", "q"], 2, 2, pool, 99).groups()
    assert advantages_of(groups, config)[0] == pytest.approx([-0.05, -0.05, 0.05, 0.05])
    assert advantages_of(groups, config)[1] == [None, None, 0.0, 0.0]  # one attempt alone teaches nothing


def test_the_gradient_is_the_sum_over_turns_by_hand(model: Path, tmp_path: Path) -> None:
    """Before the first update every ratio is 1: −Σ A · ∇ log p / (all tokens that count), rollout by rollout."""
    config = config_of(0.4)
    found = trained(open_policy(model), config, tmp_path)
    groups = to_groups(read_table(tmp_path / "rollouts" / "step-00001.parquet").to_pylist())
    network = TokenLogprobs(load_model(model, torch.float32))
    pairs = [
        (rollout, advantage)
        for group, values in zip(groups, advantages_of(groups, config), strict=True)
        for rollout, advantage in zip(group.rollouts, values, strict=True)
        if advantage is not None
    ]
    counted = sum(len(rollout.token_ids) for rollout, _ in pairs)
    for rollout, advantage in pairs:
        batch = build_batch([Row(rollout.prompt_ids, rollout.token_ids)], 10**6, 1)
        (micro,) = batch.micro_batches
        logprobs_N, _ = network(*micro.inputs, config.temperature)
        (-advantage * logprobs_N.sum() / counted).backward()
    squares = [float(parameter.grad.square().sum()) for parameter in network.parameters() if parameter.grad is not None]
    assert found["grad_norm"] == pytest.approx(sum(squares) ** 0.5, rel=1e-4)
    assert found["grad_norm"] > 0.01


def test_training_again_from_the_record_gives_the_same_advantages(model: Path, tmp_path: Path) -> None:
    config = config_of(0.4)
    trained(open_policy(model), config, tmp_path)
    rows = read_table(tmp_path / "rollouts" / "step-00001.parquet").to_pylist()
    again = [value for group in advantages_of(to_groups(rows), config) for value in group]
    assert again == [row["advantage"] for row in rows]


@pytest.mark.parametrize("bad", ["truncated", "refused"])
def test_a_turn_that_counts_nowhere_takes_its_attempt_out_and_pays_nobody(bad: str, model: Path) -> None:
    config = config_of(0.5)
    with ThreadPoolExecutor(1) as pool:
        (group, _) = play(TwoTurns(), Script().sample, ["p", "q"], 2, 2, pool, 99).groups()
    first, second, *rest = group.rollouts
    changed = (
        {"finish_reason": "length"} if bad == "truncated" else {"logprobs": (float("nan"),) * len(second.token_ids)}
    )
    spoiled = replace(group, rollouts=(first, replace(second, **changed), *rest))
    assert advantages_of([spoiled], config) == [[None, None, 0.25, -0.25]]  # 0.5 and 0 of the other one's turns


def test_attempts_without_a_discount_would_pay_nothing_for_later_turns() -> None:
    turns = ["rl.*.returns.over=attempts", "rl.*.environment={kind: repair, turns: 2}"]
    with pytest.raises(UserError, match="attempts needs a discount above 0"):
        compose(["experiment=smoke", *turns])
