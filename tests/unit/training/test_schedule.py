"""The schedule, and the worker that keeps it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.errors import InfrastructureError
from reforge.records import Reward, Rollout, Status, Verdict
from reforge.rollouts.play import Played
from reforge.rollouts.sampler import Weights
from reforge.tracking.timeline import Timeline
from reforge.training.schedule import is_drawn_from, older_versions, step_seconds, version_for
from reforge.training.worker import RolloutWorker


def test_who_draws_what_by_hand() -> None:
    assert [version_for(step, 0) for step in range(1, 6)] == [0, 1, 2, 3, 4]
    assert [version_for(step, 1) for step in range(1, 6)] == [0, 0, 1, 2, 3]
    assert [version_for(step, 3) for step in range(1, 6)] == [0, 0, 0, 0, 1]
    assert [is_drawn_from(version, 1, 5) for version in range(6)] == [True, True, True, True, False, False]
    assert [older_versions(step, 1, 5) for step in range(6)] == [[], [0], [1], [2], [3], []]
    assert older_versions(4, 3, 9) == [1, 2, 3]


@given(st.integers(0, 5), st.integers(1, 30))
def test_every_version_that_is_drawn_from_is_used_in_order_and_nothing_is_older_than_allowed(
    staleness: int, steps: int
) -> None:
    versions = [version_for(step, staleness) for step in range(1, steps + 1)]
    assert sorted(set(versions)) == [version for version in range(steps) if is_drawn_from(version, staleness, steps)]
    assert versions == sorted(versions)
    assert all(0 <= step - 1 - version <= staleness for step, version in enumerate(versions, 1))


@pytest.mark.parametrize(
    ("staleness", "seconds"),
    [(0, 7.0), (1, 4.0), (2, 4.0)],
)
def test_what_a_step_takes_by_hand(staleness: int, seconds: float) -> None:
    assert step_seconds(sampling=4.0, grading=1.0, training=2.0, staleness=staleness) == seconds


def test_waiting_for_verdicts_needs_more_batches_on_their_way() -> None:
    assert [step_seconds(1.0, 4.0, 1.0, staleness) for staleness in (0, 1, 2, 5)] == [6.0, 3.0, 2.0, 1.0]


class Samplers:
    """What the worker asks of a sampler, noted down; each token is drawn from the version loaded last."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.pause_seconds = 0.0
        self.version = -1
        self.lies = False

    def load(self, weights: Weights) -> float:
        self.version = weights.version
        self.done.append(("load", weights.version))
        return weights.version / 1000

    def draw(self, step: int, grade: Callable[[Rollout], Reward], pool: ThreadPoolExecutor) -> Played:
        self.done.append(("draw", step))
        version = self.version + self.lies
        rollouts = [Rollout("p", i, 0, (version,) * 2, (1,), (2, 3), (-0.1, -0.2), "stop", "") for i in range(2)]
        return Played({("p", one.index): [(one, pool.submit(grade, one))] for one in rollouts})


def reward(_: Rollout) -> Reward:
    return Reward(1.0, True, {}, Verdict(Status.ACCEPTED))


def worker_on(samplers: Samplers, folder: Path, staleness: int, grade=reward) -> RolloutWorker:
    clock = iter(range(10**6))
    timeline = Timeline(folder / "timeline.json", lambda: float(next(clock)))
    pool = ThreadPoolExecutor(2, "grader")
    return RolloutWorker(samplers, lambda step: samplers.draw(step, grade, pool), staleness, timeline)  # type: ignore[arg-type]


def weights(version: int) -> Weights:
    return Weights(version, Path(), [], [])


@pytest.mark.parametrize(
    ("staleness", "ahead"),
    [(0, ["load 0", "draw 1"]), (1, ["load 0", "draw 1", "draw 2"]), (2, ["load 0", "draw 1", "draw 2", "draw 3"])],
)
def test_the_worker_is_as_far_ahead_as_the_schedule_says_and_no_further(
    staleness: int, ahead: list[str], tmp_path: Path
) -> None:
    samplers = Samplers()
    worker = worker_on(samplers, tmp_path, staleness)
    worker.start(1, 5)
    worker.publish(weights(0))
    taken = [worker.take() for _ in range(staleness + 1)]
    assert [f"{what} {which}" for what, which in samplers.done] == ahead
    for version in range(1, 5 - staleness):
        worker.publish(weights(version))
        taken.append(worker.take())
        assert samplers.done[-2:] == [("load", version), ("draw", version + staleness + 1)]
    assert [draw.step for draw, _ in taken] == [1, 2, 3, 4, 5]
    assert [draw.parity for draw, _ in taken] == [version_for(step, staleness) / 1000 for step in range(1, 6)]
    worker.close()


def test_the_next_batch_is_drawn_while_verdicts_are_awaited(tmp_path: Path) -> None:
    samplers, verdict, before = Samplers(), threading.Event(), threading.active_count()

    def slow(rollout: Rollout) -> Reward:
        assert verdict.wait(10)
        return reward(rollout)

    worker = worker_on(samplers, tmp_path, 1, slow)
    worker.start(1, 2)
    worker.publish(weights(0))
    while ("draw", 2) not in samplers.done:
        assert threading.active_count() < before + 50
    verdict.set()
    assert [worker.take()[0].step for _ in range(2)] == [1, 2]
    worker.close()


def test_tokens_of_another_version_than_the_schedules_stop_the_run(tmp_path: Path) -> None:
    samplers = Samplers()
    samplers.lies = True
    worker = worker_on(samplers, tmp_path, 0)
    worker.start(1, 1)
    worker.publish(weights(0))
    with pytest.raises(InfrastructureError, match=r"policy versions \[1\], and the schedule says 0"):
        worker.take()
    worker.close()


def test_what_goes_wrong_in_the_worker_or_in_grading_is_raised_to_the_learner(tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise InfrastructureError("planted")

    for part in ("draw", "grade", "load"):
        samplers = Samplers()
        if part != "grade":
            setattr(samplers, part, broken)
        worker = worker_on(samplers, tmp_path / part, 0, broken if part == "grade" else reward)  # type: ignore[arg-type]
        worker.start(1, 1)
        worker.publish(weights(0))
        with pytest.raises(InfrastructureError, match="planted"):
            worker.take()
        worker.close()


def test_a_worker_that_waits_for_weights_ends_when_it_is_closed(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    worker = worker_on(Samplers(), tmp_path, 0)
    worker.start(1, 3)
    worker.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]


def test_the_timeline_is_a_trace_that_a_killed_run_leaves_readable(tmp_path: Path) -> None:
    path, ticks = tmp_path / "timeline.json", iter([1.0, 3.5, 7.0, 8.0])
    timeline = Timeline(path, lambda: next(ticks))
    with timeline.span("learner", "train", step=2):
        pass
    with path.open("a") as file:
        file.write('{"ph": "X", "na')  # the kill
    with Timeline(path, lambda: next(ticks)).span("sampler", "sample", step=3):
        pass
    events = json.loads(path.read_text().rstrip(",\n") + "]")
    assert [(event["name"], event["ts"], event["dur"]) for event in events if event["ph"] == "X"] == [
        ("train", 1e6, 2.5e6),
        ("sample", 7e6, 1e6),
    ]
    assert [event["args"]["name"] for event in events if event["ph"] == "M"] == ["learner", "sampler"]
