"""The entrance to the sandbox: programs in, verdicts out."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

from reforge.errors import Events, InfrastructureError, UserError
from reforge.records import Problem, Status, TestCase, Verdict
from reforge.sandbox.cache import Configuration, VerdictCache, code_digest, verdict_key
from reforge.sandbox.crowd import Crowd
from reforge.sandbox.fleet import Fleet
from reforge.sandbox.forkserver import Lost
from reforge.sandbox.grading import Graded, grade
from reforge.sandbox.isolation import LAYERS, Isolation
from reforge.sandbox.limits import Limits
from reforge.sandbox.packages import version_of
from reforge.sandbox.questions import check_tests
from reforge.sandbox.reasons import fit

__all__ = ["Isolation", "Judge", "Judging", "Limits"]

log = logging.getLogger(__name__)
_TRACEBACK = 4000  # characters of a traceback that are logged
_LIVES = 3  # attempts at a program while its server is lost or fails
_ECHO = Problem("echo", "", "", (TestCase("stdin", "1", "1"),))

Job = TypeVar("Job")
Result = TypeVar("Result")


class Judging(Protocol):
    """The interface of `Judge` and `service.RemoteJudge`: all that the rest of the system needs."""

    events: Events

    def judge(self, program: str, problem: Problem) -> Verdict: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Judge:
    """Judges programs, from any thread. At most `workers` of them run at a time; of equal jobs one runs and the others
    get its verdict.

    Raises UserError where this machine's isolation is below `minimum`, or a package is missing. `packages`:
    distributions that programs may import beside the interpreter's own library. `events`: servers `lost`, with the
    program they ran, which is judged again; programs at which the judge itself `failed`.
    """

    def __init__(
        self,
        limits: Limits,
        workers: int,
        cache: Path | None = None,
        minimum: Isolation = Isolation.LIMITS,
        packages: Sequence[str] = (),
        layers: Sequence[str] = LAYERS,
    ) -> None:
        if workers < 1:
            raise UserError(f"A judge needs at least one worker, not {workers}.")
        self.events = Events()
        self._workers = workers
        installed = tuple(version_of(package) for package in packages)
        self._fleet = Fleet(workers, minimum, layers, packages)
        if self._fleet.warning:
            log.warning("Isolation %s: %s.", self._fleet.isolation.label, self._fleet.warning)
        self.configuration = Configuration(
            limits, self._fleet.layers, self._fleet.interpreter, installed, code_digest()
        )
        self._crowd = Crowd()
        self._lock = threading.Lock()  # guards the cache and the running jobs
        self._cache = VerdictCache(cache)
        self._running: dict[str, Future[Verdict]] = {}

    @property
    def isolation(self) -> Isolation:
        return self._fleet.isolation

    @property
    def refused(self) -> dict[str, str]:
        """Return, for each layer that this machine does not offer, why not."""
        return self._fleet.refused

    def judge(self, program: str, problem: Problem) -> Verdict:
        """Return the verdict on a program. Its status is INFRA where not the program failed but the machine, BROKEN
        where the problem's own test code did: such a verdict says nothing about the program. Raises UserError for a
        problem that cannot be judged, as one without tests.
        """
        if not isinstance(program, str):
            raise TypeError(f"a program is text, not {type(program).__name__}")
        check_tests(problem)
        key = verdict_key(program, problem, self.configuration)
        with self._lock:
            known = self._cache.get(key)
            if known is not None:
                return known
            future = self._running.get(key)
            mine = future is None
            if future is None:
                future = self._running[key] = Future()
        if not mine:
            return future.result()
        try:
            verdict = replace(self._grade(program, problem), key=key)
        except BaseException as error:
            with self._lock:
                del self._running[key]
            future.set_exception(error)
            raise
        with self._lock:
            self._cache.put(verdict)
            del self._running[key]
        future.set_result(verdict)
        return verdict

    def judge_many(self, jobs: Sequence[tuple[str, Problem]]) -> list[Verdict]:
        """Return the verdicts in the order of `jobs`."""
        return in_parallel(lambda job: self.judge(*job), jobs, self._workers)

    def close(self) -> None:
        self._fleet.close()
        self._cache.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _grade(self, program: str, problem: Problem) -> Verdict:
        """Return the verdict. A limit just missed may be the neighbours' fault: the program is measured again, and the
        lesser time counts."""
        with self._crowd.joined():
            first = self._grade_once(program, problem)
        if not first.nearly_in_time:
            return first.verdict
        with self._crowd.alone():
            again = self._grade_once(program, problem)
        better = again.nearly_in_time and again.verdict.cpu_seconds < first.verdict.cpu_seconds
        return again.verdict if better or again.verdict.status is Status.ACCEPTED else first.verdict

    def _grade_once(self, program: str, problem: Problem) -> Graded:
        """Return a verdict whatever goes wrong: the program's, or INFRA; it is never the end of a run."""
        lost = 0
        for _ in range(_LIVES):
            try:
                with self._fleet.borrow() as server:
                    return grade(program, problem, self.configuration.limits, server)
            except UserError:  # the judge is closed
                raise
            except (InfrastructureError, OSError) as error:
                lost += isinstance(error, Lost)
                reason = fit(f"{type(error).__name__}: {error}")
                self.events.note("lost", f"A program could not be judged: {reason}")
            except Exception as error:
                reason = fit(f"{type(error).__name__}: {error}")
                told = traceback.format_exc()[-_TRACEBACK:].encode(errors="backslashreplace").decode()
                log.error("The judge itself failed at a program. %s", told)
                self.events.note("failed", f"The judge failed at a program: {reason}")
                break
        if lost == _LIVES and self._sound():
            return Graded(Verdict(Status.RUNTIME_ERROR, fit(f"the sandbox was lost each time it ran: {reason}")))
        return Graded(Verdict(Status.INFRASTRUCTURE, reason))

    def _sound(self) -> bool:
        """Return whether a program of ours is judged well. If so, the machine is not to blame for the servers that a
        different program loses."""
        try:
            with self._fleet.borrow() as server:
                verdict = grade("print(input())", _ECHO, self.configuration.limits, server).verdict
                return verdict.status is Status.ACCEPTED
        except (InfrastructureError, OSError):
            return False


def in_parallel(
    call: Callable[[Job], Result], jobs: Sequence[Job], workers: int, on_done: Callable[[], None] | None = None
) -> list[Result]:
    """Return the results in the order of `jobs`; `on_done` is called after each, from several threads. The first
    failure is raised, and cancels the jobs that wait.
    """

    def one(job: Job) -> Result:
        result = call(job)
        if on_done is not None:
            on_done()
        return result

    with ThreadPoolExecutor(workers) as pool:
        try:
            return [future.result() for future in [pool.submit(one, job) for job in jobs]]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
