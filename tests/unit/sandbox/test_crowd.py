"""Which programs are measured a second time, who may be alone for it, and which time counts."""

import threading
from dataclasses import replace

import pytest

from reforge.records import Problem, Status, TestCase, Verdict
from reforge.sandbox.crowd import SAVED, SHARE, Crowd
from reforge.sandbox.grading import Graded
from reforge.sandbox.judge import Judge, Limits

LIMITS = Limits(cpu_seconds=0.4, wall_seconds=1.0, memory_mb=256, output_kb=64)
ECHO = Problem("echo", "", "", (TestCase("stdin", "1", "1"),))
TOO_SLOW = Verdict(Status.TIME_LIMIT, cpu_seconds=0.5)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def burning(seconds: float, then: str) -> str:
    return f"import time\nwhile time.process_time() < {seconds}: pass\n{then}"


@pytest.mark.parametrize(
    ("program", "status", "runs"),
    [
        (burning(0.45, "print(1)"), Status.TIME_LIMIT, 2),
        (burning(0.45, "print(2)"), Status.TIME_LIMIT, 1),  # wrong, however quick
        (burning(0.45, "1 / 0"), Status.TIME_LIMIT, 1),
        ("while True: pass", Status.TIME_LIMIT, 1),
        ("import time\ntime.sleep(9)", Status.TIME_LIMIT, 1),
        ("print(2)", Status.WRONG_ANSWER, 1),
        ("1 / 0", Status.RUNTIME_ERROR, 1),
        ("print(1)", Status.ACCEPTED, 1),
    ],
)
def test_only_what_is_right_but_a_little_slow_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, program: str, status: Status, runs: int
) -> None:
    seen: list[str] = []
    real = Judge._grade_once
    monkeypatch.setattr(Judge, "_grade_once", lambda self, *of: (seen.append(""), real(self, *of))[1])
    with Judge(LIMITS, 1) as judge:
        assert judge.judge(program, ECHO).status is status
    assert len(seen) == runs


@pytest.mark.parametrize(
    ("again", "status", "seconds"),
    [
        (Graded(Verdict(Status.ACCEPTED, cpu_seconds=0.39)), Status.ACCEPTED, 0.39),
        (Graded(replace(TOO_SLOW, cpu_seconds=0.45), True), Status.TIME_LIMIT, 0.45),
        (Graded(replace(TOO_SLOW, cpu_seconds=0.55), True), Status.TIME_LIMIT, 0.5),
        (Graded(replace(TOO_SLOW, cpu_seconds=0.1), False), Status.TIME_LIMIT, 0.5),  # stopped by the wall clock
        (Graded(Verdict(Status.WRONG_ANSWER)), Status.TIME_LIMIT, 0.5),
        (Graded(Verdict(Status.INFRASTRUCTURE)), Status.TIME_LIMIT, 0.5),
    ],
)
def test_the_lesser_time_decides(
    monkeypatch: pytest.MonkeyPatch, again: Graded, status: Status, seconds: float
) -> None:
    answers = [Graded(TOO_SLOW, True), again]
    monkeypatch.setattr("reforge.sandbox.judge.grade", lambda *_: answers.pop(0))
    with Judge(LIMITS, 1) as judge:
        verdict = judge.judge("x", ECHO)
    assert (verdict.status, verdict.cpu_seconds) == (status, seconds)


def test_alone_means_alone() -> None:
    crowd, inside, most, seen = Crowd(), 0, 0, []
    lock = threading.Lock()

    def one(number: int) -> None:
        nonlocal inside, most
        with crowd.alone() if number % 5 == 0 else crowd.joined():
            with lock:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.005)
            if number % 5 == 0:
                seen.append(inside)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8
    assert most > 1


def test_being_alone_takes_no_more_than_its_share() -> None:
    clock = Clock()
    crowd = Crowd(clock)
    spent, start, turns = 0.0, clock.now, 0
    while clock.now < start + 1000:
        with crowd.alone():
            if crowd._inside == -1:
                spent += 3.0
                clock.now += 3.0
            else:  # beside the others
                clock.now += 1.0
        turns += 1
    assert spent <= SAVED + 3.0 + SHARE * (clock.now - start)
    assert spent >= SHARE * 900
    assert crowd._inside == 0


def test_whoever_waits_for_a_share_that_is_used_up_joins_the_others() -> None:
    """Both asked while there was time left; the first took all of it."""
    clock = Clock()
    crowd = Crowd(clock)
    entered, second = threading.Event(), []

    def late() -> None:
        entered.set()
        with crowd.alone():
            second.append(crowd._inside)

    thread = threading.Thread(target=late)
    with crowd.alone():
        thread.start()
        entered.wait()
        while not crowd._waiting:
            pass
        clock.now += 2 * SAVED
    thread.join()
    assert second == [1]


def test_who_found_no_time_to_be_alone_joins_even_if_some_has_come_in_meanwhile() -> None:
    """Alone beside others it would make the count of them negative, and everybody would wait for ever."""
    clock = Clock()
    crowd = Crowd(clock)
    with crowd.alone():
        clock.now += SAVED / SHARE
    times = iter([clock.now, clock.now])  # when it asks, and when it looks what is left
    crowd._clock = lambda: next(times, clock.now + 1000.0)
    with crowd.joined(), crowd.alone():
        assert crowd._inside == 2
    assert crowd._inside == 0
