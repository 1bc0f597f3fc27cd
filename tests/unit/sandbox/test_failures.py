"""A failing machine is INFRA, and a program that breaks its surroundings has failed; neither ends the judge."""

import dataclasses
import errno
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from reforge.errors import InfrastructureError, UserError
from reforge.records import Checker, Problem, Status, TestCase, Verdict
from reforge.sandbox import forkserver, grading, process
from reforge.sandbox.grading import Graded
from reforge.sandbox.judge import Judge, Limits
from tests.unit.sandbox.problems import ADD, LIMITS, SUM, stdin

# --- the machine's failures ---------------------------------------------------------------------------------------


def test_a_failing_machine_is_infrastructure(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "memfd_create", full)
    verdict = judge.judge("print(3)  # no space", ADD)
    assert verdict.status is Status.INFRASTRUCTURE
    assert "No space left" in verdict.reason
    monkeypatch.undo()
    assert judge.judge("print(3)  # no space", ADD).status is Status.WRONG_ANSWER


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Problem("p", "", "", (TestCase("stdn", "1", "1"),)), "not stdin, call, assert or answer"),  # type: ignore[arg-type]
        (stdin(("\ud800", "1")), "its input is no text"),
        (dataclasses.replace(ADD, checker=Checker("program")), "checker.source is empty"),
    ],
)
def test_a_problem_that_cannot_be_judged_is_refused(judge: Judge, problem: Problem, said: str) -> None:
    with pytest.raises(UserError, match=said):
        judge.judge("print(1)", problem)


def test_a_judge_refuses_what_is_no_program_no_limit_and_no_worker() -> None:
    with pytest.raises(UserError, match="cpu_seconds must be more than 0"):
        dataclasses.replace(LIMITS, cpu_seconds=0)
    with pytest.raises(UserError, match="at least one worker"):
        Judge(LIMITS, workers=0)
    with Judge(LIMITS, workers=1) as judge, pytest.raises(TypeError, match="not bytes"):
        judge.judge(b"print(3)", ADD)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="closed"):
        judge.judge("print(3)", ADD)


@pytest.mark.parametrize("python", ["/bin/false", "/no/such/python"])
def test_a_server_that_does_not_start_stops_the_judge(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "_PYTHON", [python])
    with pytest.raises(InfrastructureError, match="fork-server"):
        Judge(LIMITS, workers=1)


def test_a_lost_server_is_replaced_and_its_program_judged_again() -> None:
    """Killed from outside in the middle of a program; the server is the parent of the waiting process's child."""
    with Judge(LIMITS, workers=1) as lone:
        (server,) = lone._fleet._folders
        threading.Timer(0.3, server._process.kill).start()
        slow = "import time\ntime.sleep(1)\nprint(sum(map(int, input().split())))"
        assert lone.judge(slow, ADD).status is Status.ACCEPTED
        assert lone.events.counts == {"lost": 1}
        assert lone._fleet._folders.keys().isdisjoint({server})


def test_a_program_that_loses_every_server_is_not_judged_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def lose(program: str, problem: Problem, limits: Limits, server: forkserver.Server) -> Graded:
        raise server.lost("as planned")

    monkeypatch.setattr("reforge.sandbox.judge.grade", lose)
    with Judge(LIMITS, workers=1) as lone:
        lone.events.tell = told.append
        verdict = lone.judge("print(3)", ADD)
        assert verdict.status is Status.INFRASTRUCTURE  # for a program of ours is lost, too
        assert "as planned" in verdict.reason
        assert told == ["lost"] * 3


def test_a_program_that_loses_servers_which_others_keep_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever finds a way to end its server could buy a verdict that is not scored."""
    real = grading.grade

    def lose(program: str, problem: Problem, limits: Limits, server: forkserver.Server) -> Graded:
        if program == "deadly":
            raise server.lost("by this program")
        return real(program, problem, limits, server)

    monkeypatch.setattr("reforge.sandbox.judge.grade", lose)
    with Judge(LIMITS, workers=1) as lone:
        verdict = lone.judge("deadly", ADD)
        assert verdict.status is Status.RUNTIME_ERROR
        assert "the sandbox was lost each time it ran" in verdict.reason
        assert lone.events.counts == {"lost": 3}


def test_whatever_the_judge_raises_for_one_program_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(program: str, *_: object) -> Graded:
        if program == "odd":
            raise RecursionError("\ud800" * 10_000)
        return Graded(Verdict(Status.ACCEPTED))

    monkeypatch.setattr("reforge.sandbox.judge.grade", fail)
    with Judge(LIMITS, workers=1) as lone:
        verdicts = lone.judge_many([("odd", ADD), ("even", ADD)])
        assert [str(verdict.status) for verdict in verdicts] == ["INFRA", "AC"]
        assert lone.events.counts == {"failed": 1}
        verdicts[0].reason.encode()


def test_a_program_that_breaks_its_folder_beyond_repair_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next program meets another server; no test and no checker meets what it left."""
    real = forkserver.Server._hear

    def hear(self: forkserver.Server, seconds: float) -> tuple[dict[str, Any], list[int]]:
        message, descriptors = real(self, seconds)
        if "ended" in message and not broken:
            broken.append(self)
            self.broken = "it broke the folder that it ran in"
        return message, descriptors

    broken: list[forkserver.Server] = []
    monkeypatch.setattr(forkserver.Server, "_hear", hear)
    checker = Checker("program", source="def check(given, expected, output): return True")
    with Judge(LIMITS, workers=1) as lone:
        verdict = lone.judge("print(3)", dataclasses.replace(ADD, checker=checker))
        assert verdict.status is Status.RUNTIME_ERROR, verdict.reason
        assert verdict.reason == "it broke the folder that it ran in"
        assert verdict.test_index == 0
        assert lone.judge("print(sum(map(int, input().split())))", ADD).status is Status.ACCEPTED
        assert broken[0].gone()
        assert not lone.events.counts


def test_a_server_that_hangs_is_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program was started, so none was slow: it is judged by another server."""
    monkeypatch.setattr(forkserver, "PATIENCE", 1.0)
    monkeypatch.setattr(process, "PATIENCE", 1.0)
    with Judge(Limits(0.1, 0.3, memory_mb=256, output_kb=64), workers=1) as lone:
        (server,) = lone._fleet._folders
        psutil.Process(server._process.pid).suspend()
        for child in psutil.Process(server._process.pid).children():
            child.suspend()
        assert lone.judge("print(sum(map(int, input().split())))", ADD).status is Status.ACCEPTED
        assert lone.events.counts == {"lost": 1}


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Judge(LIMITS, workers=1) as judge:
        judge.judge("open('file', 'w').write('x')\nf = sum", SUM)
        judge.judge("print(1)", ADD)
        judge.judge("import os\nos.makedirs('/'.join('a' * 200))\nos.chmod('a', 0)\nf = sum", SUM)
    assert not list(tmp_path.iterdir())
    assert len(set(Path("/proc/self/fd").iterdir())) == len(before)


def test_files_of_the_problem_that_cannot_be_written_are_no_fault_of_the_program() -> None:
    """As on a full disk. Here a file stands where another one's folder should be."""
    tests = {"stdin": TestCase("stdin", "", "1"), "call": TestCase("call", "[1]", "1")}
    with Judge(LIMITS, 1) as judge:
        for kind, test in tests.items():
            files = (("a", "1"), ("a/b", "2"))
            problem = Problem(kind, "", "", (test,), entry_point="f" * (kind == "call"), files=files)
            verdict = judge.judge("print(1)\ndef f(x): return x", problem)
            assert verdict.status is Status.INFRASTRUCTURE
            assert "could not be fenced in" in verdict.reason
        written = Problem("written", "", "", (tests["stdin"],), files=files[:1])
        assert judge.judge("print(open('a').read())", written).status is Status.ACCEPTED
