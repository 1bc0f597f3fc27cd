"""The rules for truncated rollouts, by hand: rewards (1, 0) and a truncated 0."""

import math
from dataclasses import replace

import pytest

from reforge.config.training import Overlong, Returns, Rl
from reforge.records import Group, Reward, Rollout, Status, Verdict
from reforge.rollouts.refusal import refusal
from reforge.training.credit import group_advantages

LIMIT = 8  # tokens of a completion
FILTER = Overlong(rule="filter", buffer=None)


def group(*members: tuple[float | None, str], tokens: int = 3) -> Group:
    """(reward, finish reason) of each rollout."""
    rollouts = tuple(
        Rollout("p", number, number, (0,) * tokens, (1,), (2,) * tokens, (-0.1,) * tokens, finish, "")  # type: ignore[arg-type]
        for number, (_, finish) in enumerate(members)
    )
    return Group("p", rollouts, tuple(reward(value) for value, _ in members))


def reward(value: float | None) -> Reward:
    status = Status.INFRASTRUCTURE if value is None else Status.ACCEPTED if value else Status.WRONG_ANSWER
    verdict = Verdict(status)
    return Reward(value, verdict.solved, {"accuracy": value or 0.0}, verdict)


MEMBERS = group((1.0, "stop"), (0.0, "stop"), (0.0, "length"))


def rules(advantage: str, overlong: Overlong) -> Rl:
    """What of an entry of `rl` decides on advantages."""
    returns = Returns(discount=0.0, over="turns")
    return Rl.model_construct(advantage=advantage, overlong=overlong, max_tokens=LIMIT, returns=returns)  # type: ignore


def near(*values: float) -> object:
    return pytest.approx(list(values), abs=1e-4)


def test_trap_02_filtered_rollouts_leave_statistics_and_counts() -> None:
    # rewards (1, 0): mean 0.5, std 0.7071; None: not in the loss, not in its denominator (TRL#6369)
    *kept, truncated = group_advantages(MEMBERS, rules("normalised", FILTER))
    assert kept == near(0.7071, -0.7071)
    assert truncated is None


def test_trap_02_in_deepcoders_release_truncated_rollouts_stay_in_statistics_and_counts() -> None:
    # rewards (1, 0, 0): mean 1/3, std 0.5774; 0 is no gradient, but counted
    silence = Overlong(rule="silence", buffer=None)
    assert group_advantages(MEMBERS, rules("normalised", silence)) == near(1.1547, -0.5774, 0.0)
    right = group((1.0, "length"), (0.0, "stop"))  # a truncated rollout that passed is trained on there
    assert group_advantages(right, rules("normalised", silence)) == near(0.7071, -0.7071)


def test_kept_rollouts_are_wrong_answers_like_others() -> None:
    keep = Overlong(rule="keep", buffer=None)
    assert group_advantages(MEMBERS, rules("normalised", keep)) == near(1.1547, -0.5774, -0.5774)


def test_punished_rollouts_by_hand() -> None:
    # 6 tokens of 8, buffer 4: −0.5 for all, so only rewards differ; then one of 8 tokens: −1
    punish = Overlong(rule="punish", buffer=4)
    assert group_advantages(group((1.0, "stop"), (0.0, "stop"), tokens=6), rules("centred", punish)) == near(0.5, -0.5)
    long = group((1.0, "stop"), (0.0, "length"), tokens=8)
    assert group_advantages(long, rules("centred", punish)) == near(0.5, -0.5)
    mixed = Group("p", (MEMBERS.rollouts[0], long.rollouts[1]), (reward(0.0), reward(0.0)))
    assert group_advantages(mixed, rules("centred", punish)) == near(0.5, -0.5)  # 0 against −1


def test_trap_17_an_unscored_rollout_is_masked_and_not_a_zero() -> None:
    first, failed, last = group_advantages(
        group((1.0, "stop"), (None, "stop"), (0.0, "stop")), rules("normalised", FILTER)
    )
    assert failed is None
    assert [first, last] == group_advantages(group((1.0, "stop"), (0.0, "stop")), rules("normalised", FILTER))


def test_a_group_of_equal_rewards_is_counted_and_teaches_nothing() -> None:
    assert group_advantages(group((1.0, "stop"), (1.0, "stop")), rules("normalised", FILTER)) == [0.0, 0.0]


def test_trap_04_the_engine_says_what_is_truncated() -> None:
    """Not the last token: models with several end tokens were counted truncated (TRL#7039)."""
    assert group_advantages(group((1.0, "stop"), (0.0, "stop"), tokens=8), rules("centred", FILTER)) == near(0.5, -0.5)


BAD = [-math.inf, math.inf, math.nan, 0.5, 1e-3, -200.0, -1e30]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("place", [0, 2])
def test_a_rollout_whose_log_probs_cannot_be_leaves_its_group(value: float, place: int) -> None:
    """As an unscored one does: rewards (1, 0) are left, whatever the refused one earned."""
    whole = group((1.0, "stop"), (1.0, "stop"), (0.0, "stop"))
    logprobs = tuple(value if number == place else -0.1 for number in range(3))
    bad = replace(whole, rollouts=(replace(whole.rollouts[0], logprobs=logprobs), *whole.rollouts[1:]))
    refused, *kept = group_advantages(bad, rules("normalised", FILTER))
    assert refused is None
    assert kept == group_advantages(group((1.0, "stop"), (0.0, "stop")), rules("normalised", FILTER))


def test_lists_of_other_lengths_are_refused_and_rounding_is_not() -> None:
    one = group((1.0, "stop")).rollouts[0]
    assert refusal(replace(one, logprobs=(-0.1, 1e-6, 0.0))) == ""
    assert "3 tokens and 2 log-probs" in refusal(replace(one, logprobs=(-0.1, -0.1)))
    assert "3 tokens and 4 log-probs" in refusal(replace(one, logprobs=(-0.1,) * 4))
    assert "3 tokens and 1 policy versions" in refusal(replace(one, policy_versions=(0,)))
    assert "no tokens" in refusal(replace(one, token_ids=(), logprobs=(), policy_versions=()))
    assert refusal(replace(one, logprobs=(-0.1, math.nan, -0.1))) == "the log-prob of token 1 is nan"
