"""A judge behind HTTP, and the client that uses several of them as one."""

from __future__ import annotations

import dataclasses
import hmac
import itertools
import json
import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reforge.errors import Events, InfrastructureError, UserError, in_words
from reforge.records import Problem, Status, Verdict
from reforge.sandbox.cache import Configuration, code_digest
from reforge.sandbox.isolation import Isolation
from reforge.sandbox.judge import Judge, in_parallel
from reforge.sandbox.limits import Limits
from reforge.sandbox.packages import interpreter, version_of
from reforge.sandbox.reasons import fit
from reforge.sandbox.spec import ProblemSpec, spec_of

logging.getLogger("httpx").setLevel(logging.WARNING)
_BODY_BYTES = 64 << 20
_PAUSE = 1.0  # seconds before a server that was busy or away is asked again


class Job(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    program: str
    problem: ProblemSpec


def app_of(judge: Judge, queue: int, token: str = "") -> FastAPI:
    """Return the web application of a judge. More than `queue` jobs at a time are turned away with 503: the client
    waits, not a growing heap of requests."""
    app = FastAPI(title="Reforge judge", docs_url=None, redoc_url=None)
    room = threading.BoundedSemaphore(queue)

    def admit(authorization: str) -> None:
        if token and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "a token is needed: Authorization: Bearer …")

    @app.get("/health")
    def health(authorization: str = Header("")) -> dict[str, Any]:
        admit(authorization)
        return {"isolation": judge.isolation.label, "configuration": _plain(judge.configuration)}

    @app.post("/judge")
    def judge_one(job: Job, authorization: str = Header("")) -> dict[str, Any]:
        admit(authorization)
        if not room.acquire(blocking=False):
            raise HTTPException(503, "busy", headers={"Retry-After": str(int(_PAUSE))})
        try:
            return dataclasses.asdict(judge.judge(job.program, job.problem.problem("remote")))
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        finally:
            room.release()

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, error: RequestValidationError) -> Response:
        """Answer without what was sent: it may be long, and such that it cannot be sent back."""
        where = [{"at": list(map(str, item["loc"])), "what": in_words(item)} for item in error.errors()[:10]]
        return Response(json.dumps({"detail": where}), 422, media_type="application/json")

    app.add_middleware(_Bounded)
    return app


class _Bounded:
    """Reads no more of a request than it may be long, whatever its headers say."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > _BODY_BYTES:
                raise HTTPException(413, f"more than {_BODY_BYTES >> 20} MiB", {"Connection": "close"})
            return message

        await self._app(scope, bounded, send)


def _plain(configuration: Configuration) -> dict[str, Any]:
    """Return the value as JSON gives it back. JSON has no infinity, which becomes None."""
    values = dataclasses.asdict(configuration)
    values["limits"] = {name: None if value == math.inf else value for name, value in values["limits"].items()}
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _different(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return what changes a verdict and differs there. Layers are left out: a minimum is asked of them."""
    pairs = {f"limits: {name}": (value, theirs["limits"].get(name)) for name, value in ours["limits"].items()}
    pairs["packages"] = (ours["packages"], theirs["packages"])
    pairs["code of the sandbox"] = (ours["code"][:12], theirs["code"][:12])
    pairs["interpreter"] = (_series(ours["interpreter"]), _series(theirs["interpreter"]))
    return [f"{what} ({there} there, {here} here)" for what, (here, there) in pairs.items() if here != there]


def _series(interpreter: str) -> str:
    """Return the version without its last number: releases of one series mean the same by a program."""
    return interpreter.rpartition(".")[0]


class _Busy(InfrastructureError):
    """The server is busy: it will take the job later."""


class RemoteJudge:
    """Judges as `Judge` does, from any thread, through servers that hold one each.

    Raises UserError where a server would judge by anything else than a judge of this configuration here, or is less
    isolated than `minimum`. Only what a judge said becomes a verdict: a job without an answer goes to the next server,
    and after `patience` seconds to none (INFRA). `events`: servers `lost`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        limits: Limits,
        workers: int,
        minimum: Isolation = Isolation.LIMITS,
        token: str = "",
        patience: float = 600.0,
        packages: Sequence[str] = (),
    ) -> None:
        self.events = Events()
        self._away: set[str] = set()
        self._workers = workers
        self._patience = patience
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(10.0, read=patience))
        self._turns = itertools.cycle(urls)
        self._lock = threading.Lock()  # guards the turns
        try:
            ours = _plain(Configuration(limits, (), interpreter(), tuple(map(version_of, packages)), code_digest()))
            self.isolation = min(self._examine(url, ours, minimum) for url in urls)
        except BaseException:
            self._client.close()
            raise

    def judge(self, program: str, problem: Problem) -> Verdict:
        # escaped: a program that cannot be encoded gets its verdict like any other
        job = json.dumps({"program": program, "problem": spec_of(problem).model_dump()})
        if len(job) > _BODY_BYTES:
            raise UserError(f"Problem {problem.id!r} with its program is more than {_BODY_BYTES >> 20} MiB to send.")
        deadline = time.monotonic() + self._patience
        while True:
            with self._lock:
                url = next(self._turns)
            try:
                verdict = self._ask(url, job)
                self._away.discard(url)
                return verdict
            except InfrastructureError as error:
                self._note(url, error)
                if time.monotonic() > deadline:
                    reason = f"no judge answered for {self._patience:g} s, the last: {error}"
                    return Verdict(Status.INFRASTRUCTURE, fit(reason))
                time.sleep(_PAUSE)

    def judge_many(self, jobs: Sequence[tuple[str, Problem]]) -> list[Verdict]:
        return in_parallel(lambda job: self.judge(*job), jobs, self._workers)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> RemoteJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, url: str, error: InfrastructureError) -> None:
        """Report a server that is away, once each time; a busy one is not away."""
        if not isinstance(error, _Busy) and url not in self._away:
            self._away.add(url)
            self.events.note("lost", f"A judge gave no verdict, and the next one is asked: {error}")

    def _ask(self, url: str, job: str) -> Verdict:
        answer = self._call("POST", f"{url}/judge", job)
        try:
            return Verdict(**{**answer, "status": Status(answer["status"]), "reason": fit(answer["reason"])})
        except (TypeError, KeyError, ValueError) as error:
            raise InfrastructureError(f"{url} gave no verdict: {str(answer)[:200]}") from error

    def _examine(self, url: str, ours: dict[str, Any], minimum: Isolation) -> Isolation:
        health = self._call("GET", f"{url}/health")
        if health.keys() >= {"isolation", "limits"}:  # from before servers reported all their configuration
            raise UserError(f"sandbox.urls: {url} is of an older version of Reforge. Start it from this one.")
        try:
            isolation = Isolation[health["isolation"].upper()]
            different = _different(ours, health["configuration"])
        except (KeyError, AttributeError, TypeError) as error:
            raise UserError(f"sandbox.urls: at {url} is no judge; it answered {str(health)[:200]}") from error
        if different:
            raise UserError(
                f"sandbox.urls: {url} would give other verdicts than this configuration. It differs in "
                f"{'; '.join(different)}. Start it from the same params.yaml and the same version of Reforge."
            )
        if isolation < minimum:
            raise UserError(
                f"sandbox.urls: {url} isolates at the level {isolation.label!r}, sandbox.minimum_isolation asks for "
                f"{minimum.label!r}."
            )
        return isolation

    def _call(self, method: str, url: str, body: str | None = None) -> dict[str, Any]:
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            response = self._client.request(method, url, content=body, headers=headers)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise InfrastructureError(f"{url}: {type(error).__name__}: {error}") from error
        if response.status_code in (401, 413, 422):  # asking again would not help
            raise UserError(f"{url} refuses: {answer.get('detail') if isinstance(answer, dict) else answer}")
        if response.status_code == 503:
            raise _Busy(f"{url} has enough to do")
        if response.status_code != 200 or not isinstance(answer, dict):
            raise InfrastructureError(f"{url} answered {response.status_code}")
        return answer
