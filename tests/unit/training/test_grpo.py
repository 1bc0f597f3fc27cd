from dataclasses import replace

import pytest

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.config.training import Rl
from reforge.errors import UserError
from reforge.policy.learner import Learner
from reforge.training.grpo import check_truncation, problems_of_step
from reforge.training.learn import batch_of
from reforge.training.observe import rollout_metrics
from tests.unit.training.policies import new_policy, open_policy
from tests.unit.training.test_credit import group

PROBLEMS = [f"p{number}" for number in range(10)]


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Learner:
    return open_policy(new_policy(tmp_path_factory.mktemp("policy")))


@pytest.fixture(scope="module")
def config() -> Rl:
    return build_config(compose(["experiment=smoke"]), "test").rl["short"]


LEARNS = group((1.0, "stop"), (0.0, "stop"))
TEACHES_NOTHING = group((1.0, "stop"), (1.0, "stop"), tokens=5)


def test_trap_17_groups_that_teach_nothing_need_no_pass_and_stay_in_the_normaliser(
    learner: Learner, config: Rl
) -> None:
    """What they weigh must not depend on how many of them there are: 6 trained tokens of 16 counted ones."""
    batch = batch_of([LEARNS, TEACHES_NOTHING], [[0.7, -0.7], [0.0, 0.0]], config, learner)
    assert batch is not None
    assert batch.tokens == 6
    (micro,) = batch.micro_batches
    assert micro.token_weights_N.tolist() == pytest.approx([1 / 16] * 6)


@pytest.mark.parametrize(("mean", "constant"), [("token", None), ("sequence", None), ("constant", 4096)])
def test_trap_03_a_longer_rung_does_not_move_the_scale(learner: Learner, config: Rl, mean: str, constant: int) -> None:
    """TRL's dr_grpo divides by max_completion_length: from 16K to 32K the same rollouts gave half the gradient."""
    loss = config.loss.model_copy(update={"mean": mean, "constant_length": constant})
    found = []
    for length in (16384, 32768):
        longer = config.model_copy(update={"loss": loss, "max_tokens": length})
        batch = batch_of([LEARNS], [[0.7, -0.7]], longer, learner)
        assert batch is not None
        found.append(batch.micro_batches[0].token_weights_N.tolist())
    assert found[0] == found[1]


def test_trap_02_rollouts_without_advantage_leave_the_normaliser(learner: Learner, config: Rl) -> None:
    batch = batch_of([LEARNS, TEACHES_NOTHING], [[0.7, -0.7], [0.0, None]], config, learner)
    assert batch is not None
    assert batch.micro_batches[0].token_weights_N.tolist() == pytest.approx([1 / 11] * 6)


def test_where_entropy_or_kl_act_all_counted_rollouts_are_trained_on(learner: Learner, config: Rl) -> None:
    everywhere = config.model_copy(update={"loss": config.loss.model_copy(update={"entropy": 0.1})})
    batch = batch_of([LEARNS, TEACHES_NOTHING], [[0.7, -0.7], [0.0, None]], everywhere, learner)
    assert batch is not None
    assert batch.tokens == 11


def test_no_batch_where_nothing_can_be_learned(learner: Learner, config: Rl) -> None:
    assert batch_of([TEACHES_NOTHING], [[0.0, 0.0]], config, learner) is None
    assert batch_of([TEACHES_NOTHING], [[None, None]], config, learner) is None


def test_what_is_said_of_a_steps_rollouts_by_hand() -> None:
    failed = group((1.0, "stop"), (None, "stop"), (0.0, "length"))
    metrics = rollout_metrics([failed, TEACHES_NOTHING], [[0.5, None, -0.5], [0.0, 0.0]])
    assert metrics == pytest.approx(
        {
            "reward/mean": 0.75,
            "reward/std": 3**0.5 / 4,
            "reward/accuracy": 0.75,
            "reward/solved_all": 0.5,
            "reward/solved_some": 0.5,
            "reward/solved_none": 0.0,
            "length/mean": 19 / 5,
            "length/median": 3.0,
            "length/max": 5.0,
            "truncated": 0.2,
            "infra": 1.0,
            "rollouts/refused": 0.0,
            "groups/dropped": 1.0,
            "advantage/mean": 0.0,
            "advantage/std": 0.125**0.5,
            "advantage/max_abs": 0.5,
            "tokens/sampled": 19.0,
            "tokens/counted": 16.0,
        }
    )


def test_each_pass_visits_every_problem_once_and_depends_on_seed_and_step_alone():
    first_pass = [problem for step in (1, 2) for problem in problems_of_step(PROBLEMS, 5, step, seed=0)]
    assert sorted(first_pass) == sorted(PROBLEMS)
    assert problems_of_step(PROBLEMS, 5, 3, 0) == problems_of_step(PROBLEMS, 5, 3, 0)
    assert problems_of_step(PROBLEMS, 5, 1, 0) != problems_of_step(PROBLEMS, 5, 1, 1)
    assert problems_of_step(PROBLEMS, 5, 1, 0) != problems_of_step(PROBLEMS, 5, 3, 0)  # another pass, another order


def test_as_curated_the_rest_of_a_pass_begins_the_next_and_nothing_is_left_out() -> None:
    """10 problems, 4 a step: the third step ends the first pass and begins the second."""
    steps = [problems_of_step(PROBLEMS, 4, step, None) for step in range(1, 6)]
    assert steps == [
        ["p0", "p1", "p2", "p3"], ["p4", "p5", "p6", "p7"], ["p8", "p9", "p0", "p1"], ["p2", "p3", "p4", "p5"],
        ["p6", "p7", "p8", "p9"],
    ]  # fmt: skip


def test_refused_rollouts_are_counted_and_a_reward_of_ones_own_does_not_say_what_is_solved() -> None:
    whole = group((1.0, "stop"), (1.0, "stop"), (0.0, "stop"))
    rollouts = (replace(whole.rollouts[0], logprobs=(-0.1, float("-inf"), -0.1)), *whole.rollouts[1:])
    paid = tuple(replace(reward, value=(reward.value or 0.0) + 0.1) for reward in whole.rewards)
    metrics = rollout_metrics([replace(whole, rollouts=rollouts, rewards=paid)], [[None, 0.5, -0.5]])
    assert metrics["rollouts/refused"] == 1.0
    assert metrics["infra"] == 0.0
    assert (metrics["reward/solved_some"], metrics["reward/mean"]) == (1.0, pytest.approx(2.3 / 3))


def test_a_batch_larger_than_the_problem_set_is_an_error():
    with pytest.raises(UserError, match=r"rl\.\*\.batch is 11"):
        problems_of_step(PROBLEMS, 11, 1, 0)


def test_collapse_to_truncation_stops_the_run():
    check_truncation(0.9, 0.9, step=7)
    with pytest.raises(UserError, match="Step 7: 97% of the rollouts"):
        check_truncation(0.97, 0.9, step=7)
