"""The JSONL file is the truth: it is in order, whole, and does not care what becomes of its mirrors."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.tracking.tracker import Metrics, RunStatus, Tracker


class Recorder:
    """A mirror that remembers, and fails at a step if told to, so often."""

    def __init__(self, mark: int = -1, fails_at: int | None = None, times: int = 1000) -> None:
        self.mark, self.fails_at, self.times = mark, fails_at, times
        self.steps: list[int] = []
        self.closed: list[object] = []

    def log(self, step: int, metrics: Metrics) -> None:
        if step == self.fails_at and self.times:
            self.times -= 1
            raise ConnectionError("the server went away")
        self.steps.append(step)
        self.mark = step  # as MLflow says it when it is asked anew

    def artifact(self, path: Path) -> None:
        self.steps.append(0)

    def close(self, status: RunStatus, metrics: Metrics, tags: dict[str, str]) -> None:
        self.closed.append((status, metrics, tags))


def lines(tmp_path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (tmp_path / "s" / "metrics.jsonl").read_text().splitlines()]


def tracker(tmp_path: Path, *mirrors: Recorder) -> Tracker:
    return Tracker(tmp_path / "s", tmp_path / "r", [lambda m=mirror: m for mirror in mirrors])


def test_one_line_per_step(tmp_path: Path) -> None:
    kept = tracker(tmp_path)
    kept.log(1, {"loss": 0.5, "reward/mean": 1})
    kept.log(2, {"loss": 0.25})
    assert lines(tmp_path) == [{"step": 1, "loss": 0.5, "reward/mean": 1.0}, {"step": 2, "loss": 0.25}]


def test_rewind_drops_later_steps_and_a_new_tracker_goes_on(tmp_path: Path) -> None:
    kept = tracker(tmp_path)
    for step in (1, 2, 3):
        kept.log(step, {"loss": float(step)})
    again = tracker(tmp_path)
    again.rewind(1)
    again.log(2, {"loss": 2.0})
    assert lines(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}]


def test_an_earlier_step_replaces_what_followed_it(tmp_path: Path) -> None:
    kept = tracker(tmp_path)
    for step in (1, 2, 3, 2):
        kept.log(step, {})
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


@given(st.lists(st.integers(0, 6), max_size=12))
def test_steps_always_rise(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    folder = tmp_path_factory.mktemp("t")
    kept = tracker(folder)
    for step in steps:
        kept.log(step, {})
    found = [int(line["step"]) for line in lines(folder)]
    assert found == sorted(set(found))
    assert found[-1:] == steps[-1:]


def test_a_line_torn_by_a_kill_is_dropped(tmp_path: Path) -> None:
    tracker(tmp_path).log(1, {"loss": 1.0})
    with (tmp_path / "s" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    tracker(tmp_path).log(2, {"loss": 2.0})
    assert lines(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}]


NOT_FINITE = {"loss": math.nan, "gap/k3": math.inf, "gap/mean": -math.inf, "reward/mean": 0.0}


def test_what_is_not_finite_is_logged_as_such_in_valid_json(tmp_path: Path) -> None:
    mirror = Recorder()
    kept = tracker(tmp_path, mirror)
    kept.log(1, NOT_FINITE, {"seconds/train": math.nan})
    spelled = {"step": 1, "loss": "nan", "gap/k3": "inf", "gap/mean": "-inf", "reward/mean": 0.0}
    assert lines(tmp_path) == [spelled]
    assert "NaN" not in (tmp_path / "r" / "timings.jsonl").read_text()
    again = tracker(tmp_path)  # a resume reads numbers
    assert str(again.last()) == str(NOT_FINITE)
    again.rewind(0)
    again.log(1, NOT_FINITE)
    assert again.recomputed_steps() == [{"step": 1, "differing": []}]  # NaN is like NaN


def test_timings_stay_apart(tmp_path: Path) -> None:
    tracker(tmp_path).log(1, {"loss": 1.0}, {"time/step": 3.0})
    assert lines(tmp_path) == [{"step": 1, "loss": 1.0}]
    assert json.loads((tmp_path / "r" / "timings.jsonl").read_text())["time/step"] == 3.0


def test_recomputed_steps_are_compared_with_the_first_time(tmp_path: Path) -> None:
    """Step 2 comes out the same, step 3 does not: the planted defect is a resume that changes the loss."""
    first = tracker(tmp_path)
    for step in (1, 2, 3):
        first.log(step, {"loss": float(step), "kl": 0.0})
    resumed = tracker(tmp_path)
    resumed.rewind(1)
    resumed.log(2, {"loss": 2.0, "kl": 0.0})
    resumed.log(3, {"loss": 2.9, "kl": 0.0})
    resumed.log(4, {"loss": 1.0})
    found = [{"step": 2, "differing": []}, {"step": 3, "differing": ["loss"]}]
    assert resumed.recomputed_steps() == found
    tracker(tmp_path).recomputed(3, ["logprobs of rollout p/1"])  # killed, and started once more
    assert tracker(tmp_path).recomputed_steps() == [*found, {"step": 3, "differing": ["logprobs of rollout p/1"]}]


def test_a_failing_mirror_warns_once_and_the_other_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Recorder(), Recorder(fails_at=2)
    kept = tracker(tmp_path, bad, good)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3, 4):
            kept.log(step, {})
        kept.close("FINISHED")
    assert (bad.steps, bad.closed) == ([1], []), "it was told of a step after one that it lacks"
    assert (good.steps, len(good.closed)) == ([1, 2, 3, 4], 1)
    assert [record.message for record in caplog.records if "went away" in record.message].__len__() == 1
    assert len(lines(tmp_path)) == 4


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_mirror_that_comes_back_gets_what_it_missed_once(tmp_path: Path, times: int) -> None:
    away = Recorder(fails_at=2, times=times)
    kept = tracker(tmp_path, away)
    for step in range(1, 13):
        kept.log(step, {})
    assert away.steps == list(range(1, 13))
    kept.artifact(tmp_path / "plot.svg")
    kept.close("FINISHED", {"final": 1.0})
    assert away.steps == [*range(1, 13), 0]
    assert away.closed == [("FINISHED", {"final": 1.0}, {})]


def test_a_mirror_that_is_back_only_at_the_end_gets_it_all(tmp_path: Path) -> None:
    away = Recorder(fails_at=1, times=4)
    kept = tracker(tmp_path, away)
    for step in range(1, 10):
        kept.log(step, {})
    kept.artifact(tmp_path / "plot.svg")
    assert away.steps == []
    kept.close("FINISHED")
    assert (away.steps, len(away.closed)) == ([*range(1, 10), 0], 1)


def test_a_mirror_that_does_not_open_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Recorder:
        raise OSError("unable to open database file")

    kept = Tracker(tmp_path / "s", tmp_path / "r", [broken])
    kept.log(1, {})
    kept.close("FINISHED")
    assert len(lines(tmp_path)) == 1
    assert "unable to open database file" in caplog.text


def test_a_mirror_gets_only_steps_after_its_mark_and_all_that_it_missed(tmp_path: Path) -> None:
    first = tracker(tmp_path)
    for step in (1, 2, 3):
        first.log(step, {})
    has_two, has_none = Recorder(mark=2), Recorder()
    resumed = tracker(tmp_path, has_two, has_none)
    resumed.log(4, {})
    assert has_two.steps == [3, 4]
    assert has_none.steps == [1, 2, 3, 4]
