import pytest

from reforge.errors import UserError
from reforge.training.grpo import check_truncation, group_advantages, prompts_of_step, rollout_metrics
from reforge.types import Group, Prompt, Reward, Rollout, Status, Verdict

PROMPTS = [Prompt(f"p{number}", (number,)) for number in range(10)]


def rollout(index: int, tokens: int = 3, finish: str = "stop") -> Rollout:
    return Rollout("p", index, index, 0, (1,), (2,) * tokens, (-0.1,) * tokens, finish, "")  # type: ignore[arg-type]


def reward(value: float | None) -> Reward:
    status = Status.INFRASTRUCTURE if value is None else Status.ACCEPTED if value else Status.WRONG_ANSWER
    return Reward(value, {"accuracy": value or 0.0}, Verdict(status))


def group(*members: tuple[float | None, str]) -> Group:
    rollouts = tuple(rollout(number, finish=finish) for number, (_, finish) in enumerate(members))
    return Group("p", rollouts, tuple(reward(value) for value, _ in members))


def test_truncated_rollouts_leave_the_statistics_under_the_overlong_filter():
    # without the truncated zero the rewards are (1, 0): mean 0.5, std 0.7071
    members = group((1.0, "stop"), (0.0, "stop"), (0.0, "length"))
    assert group_advantages(members, overlong_filter=True) == [pytest.approx(0.7071, abs=1e-4)] * 1 + [
        pytest.approx(-0.7071, abs=1e-4),
        None,
    ]
    # with it they are (1, 0, 0): mean 1/3, std 0.5774
    assert group_advantages(members, overlong_filter=False) == [
        pytest.approx(1.1547, abs=1e-4),
        pytest.approx(-0.5774, abs=1e-4),
        pytest.approx(-0.5774, abs=1e-4),
    ]


def test_an_infrastructure_failure_is_masked_and_not_a_zero():
    with_failure = group((1.0, "stop"), (None, "stop"), (0.0, "stop"))
    without = group((1.0, "stop"), (0.0, "stop"))
    first, failed, last = group_advantages(with_failure, True)
    assert failed is None
    assert [first, last] == group_advantages(without, True)
    assert rollout_metrics([with_failure], [[first, failed, last]])["infra"] == 1.0
    assert rollout_metrics([with_failure], [[first, failed, last]])["reward/mean"] == 0.5


def test_a_group_of_equal_rewards_is_dropped_and_counted():
    members = group((1.0, "stop"), (1.0, "stop"))
    values = group_advantages(members, True)
    assert values == [None, None]
    metrics = rollout_metrics([members], [values])
    assert (metrics["groups/dropped"], metrics["reward/solved_all"], metrics["reward/solved_none"]) == (1.0, 1.0, 0.0)


def test_each_pass_visits_every_problem_once_and_depends_on_seed_and_step_alone():
    first_pass = [prompt for step in (1, 2) for prompt in prompts_of_step(PROMPTS, 5, step, seed=0)]
    assert sorted(prompt.problem_id for prompt in first_pass) == sorted(prompt.problem_id for prompt in PROMPTS)
    assert prompts_of_step(PROMPTS, 5, 3, 0) == prompts_of_step(PROMPTS, 5, 3, 0)
    assert prompts_of_step(PROMPTS, 5, 1, 0) != prompts_of_step(PROMPTS, 5, 1, 1)
    assert prompts_of_step(PROMPTS, 5, 1, 0) != prompts_of_step(PROMPTS, 5, 3, 0)  # another pass, another order


def test_a_batch_larger_than_the_problem_set_is_an_error():
    with pytest.raises(UserError, match=r"rl\.batch is 11"):
        prompts_of_step(PROMPTS, 11, 1, 0)


def test_collapse_to_truncation_stops_the_run():
    check_truncation(0.9, 0.9, step=7)
    with pytest.raises(UserError, match="Step 7: 97% of the rollouts"):
        check_truncation(0.97, 0.9, step=7)
