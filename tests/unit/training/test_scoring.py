import threading

from reforge.records import Prompt, Reward, Rollout, Status, Verdict
from reforge.training.scoring import score_as_they_finish


def rollout(problem: str, index: int) -> Rollout:
    return Rollout(problem, index, 0, (0,), (1,), (2,), (-0.1,), "stop", f"{problem}{index}")


def test_groups_keep_the_order_of_prompts_and_indices_whatever_finishes_first():
    prompts = [Prompt("a", (1,)), Prompt("b", (1,))]
    finished = [rollout("b", 1), rollout("a", 1), rollout("b", 0), rollout("a", 0)]
    groups = score_as_they_finish(
        iter(finished), lambda r: Reward(float(r.index), {}, Verdict(Status.ACCEPTED)), prompts, 2
    )
    assert [[r.text for r in group.rollouts] for group in groups] == [["a0", "a1"], ["b0", "b1"]]
    assert [[reward.value for reward in group.rewards] for group in groups] == [[0.0, 1.0], [0.0, 1.0]]


def test_grading_does_not_wait_for_the_last_rollout():
    graded = threading.Event()

    def stream():
        yield rollout("a", 0)
        assert graded.wait(10), "the first rollout was not graded while the second was still being sampled"
        yield rollout("a", 1)

    def score(_: Rollout) -> Reward:
        graded.set()
        return Reward(1.0, {}, Verdict(Status.ACCEPTED))

    (group,) = score_as_they_finish(stream(), score, [Prompt("a", (1,))], 1)
    assert len(group.rollouts) == 2
