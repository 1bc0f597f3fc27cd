"""The sandbox's door: programs in, verdicts out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from reforge.errors import InfrastructureError
from reforge.sandbox.cache import VerdictCache, verdict_key
from reforge.sandbox.grading import check_tests, grade
from reforge.sandbox.process import Limits
from reforge.types import Problem, Status, Verdict

__all__ = ["Judge", "Limits"]


class Judge:
    """Thread-safe. At most `workers` programs run at a time; of equal jobs one runs and the others get its verdict."""

    def __init__(self, limits: Limits, workers: int, cache: Path | None = None) -> None:
        self._limits = limits
        self._workers = workers
        self._slots = threading.Semaphore(workers)
        self._lock = threading.Lock()  # of the two below
        self._cache = VerdictCache(cache)
        self._running: dict[str, Future[Verdict]] = {}

    def judge(self, program: str, problem: Problem) -> Verdict:
        """Status INFRA where not the program failed but the machine, or the problem's own test code: such a verdict
        says nothing about the program. Raises UserError for a problem that cannot be judged, as one without tests.
        """
        check_tests(problem)
        key = verdict_key(program, problem, self._limits)
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
            with self._slots:
                verdict = self._grade(program, problem)
        except BaseException as error:
            with self._lock:
                del self._running[key]
            future.set_exception(error)
            raise
        with self._lock:
            self._cache.put(key, verdict)
            del self._running[key]
        future.set_result(verdict)
        return verdict

    def judge_many(
        self, jobs: Sequence[tuple[str, Problem]], on_done: Callable[[], None] | None = None
    ) -> list[Verdict]:
        """In the order of `jobs`; `on_done` is called after each, from several threads."""

        def one(job: tuple[str, Problem]) -> Verdict:
            verdict = self.judge(*job)
            if on_done is not None:
                on_done()
            return verdict

        with ThreadPoolExecutor(self._workers) as pool:
            try:
                return [future.result() for future in [pool.submit(one, job) for job in jobs]]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        self._cache.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _grade(self, program: str, problem: Problem) -> Verdict:
        try:
            return grade(program, problem, self._limits)
        except (InfrastructureError, OSError) as error:
            return Verdict(Status.INFRASTRUCTURE, f"{type(error).__name__}: {error}")
