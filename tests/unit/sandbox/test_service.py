"""The judge over HTTP: a real server, and what happens when one is away, busy, closed or says nonsense."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from reforge.errors import UserError
from reforge.machine.process import free_port
from reforge.records import Checker, Problem, Status, TestCase
from reforge.sandbox import service
from reforge.sandbox.isolation import SECCOMP, Isolation
from reforge.sandbox.judge import Judge, Limits
from reforge.sandbox.service import RemoteJudge, app_of
from reforge.sandbox.spec import spec_of

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=10.0, memory_mb=256, output_kb=64, budget_seconds=10.0)
ADD = Problem("add", "", "", (TestCase("stdin", "1 2", "3"),), files=(("a.txt", "1"),), checker=Checker("lines"))
RIGHT = "print(sum(map(int, input().split())))"
TOKEN = "a token of letters"


class Serving(uvicorn.Server):
    def __init__(self, app: object) -> None:
        self.port = free_port()
        super().__init__(uvicorn.Config(app, port=self.port, log_level="critical"))  # type: ignore[arg-type]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Serving":
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        while not self.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.should_exit = True
        self._thread.join()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(LIMITS, workers=2) as judge:
        yield judge


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PAUSE", 0.05)


def test_the_same_verdict_as_from_the_judge_itself(judge: Judge) -> None:
    with Serving(app_of(judge, 8)) as server, RemoteJudge([server.url], LIMITS, 2) as remote:
        assert remote.isolation is judge.isolation
        expected = {RIGHT: Status.ACCEPTED, "print(4)": Status.WRONG_ANSWER, "(": Status.COMPILE_ERROR}
        for program, status in expected.items():
            verdict = remote.judge(program, ADD)
            assert verdict.status is status
            assert verdict == judge.judge(program, ADD)
        many = remote.judge_many([(RIGHT, ADD), ("print(4)", ADD)] * 4)
        assert [verdict.status for verdict in many] == [Status.ACCEPTED, Status.WRONG_ANSWER] * 4


def test_a_server_that_is_away_costs_time_and_no_verdict(judge: Judge) -> None:
    first, second = Serving(app_of(judge, 8)), Serving(app_of(judge, 8))
    with second:
        with first:
            remote = RemoteJudge([first.url, second.url], LIMITS, 2)
        with remote:
            assert [remote.judge(RIGHT, ADD).status for _ in range(4)] == [Status.ACCEPTED] * 4
            assert remote.events.counts == {"lost": 1}


def test_without_any_server_left_the_verdict_is_infrastructure(judge: Judge) -> None:
    with Serving(app_of(judge, 8)) as server:
        remote = RemoteJudge([server.url], LIMITS, 2)
    remote._patience = 0.3  # from here on: to be looked at takes a busy machine longer
    with remote:
        verdict = remote.judge(RIGHT, ADD)
    assert verdict.status is Status.INFRASTRUCTURE
    assert "ConnectError" in verdict.reason


def test_more_than_the_queue_holds_is_turned_away_and_comes_again(judge: Judge) -> None:
    slow = "import time\ntime.sleep(0.3)\nprint(3) #"
    with Serving(app_of(judge, 1)) as server, RemoteJudge([server.url], LIMITS, 4) as remote:
        answers: list[int] = []

        def knock() -> None:
            body = {"program": f"{slow} knock", "problem": spec_of(ADD).model_dump()}
            answers.append(httpx.post(f"{server.url}/judge", json=body).status_code)

        threads = [threading.Thread(target=knock) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) in ([200, 503, 503], [200, 200, 503])
        verdicts = remote.judge_many([(f"{slow} {number}", ADD) for number in range(4)])
    assert {verdict.status for verdict in verdicts} == {Status.ACCEPTED}
    assert not remote.events.counts  # one that is busy is not lost


@pytest.mark.parametrize("answer", [{"status": "AC"}, {"status": "GREAT", "reason": ""}, {}, {"passed": True}, []])
def test_nonsense_is_no_verdict(judge: Judge, answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with Serving(app_of(judge, 8)) as server, RemoteJudge([server.url], LIMITS, 1) as remote:
        remote._patience = 0.2
        request = httpx.Request("POST", server.url)
        said = httpx.Response(500 if answer == {"status": "AC"} else 200, json=answer, request=request)
        monkeypatch.setattr(remote._client, "request", lambda *_, **__: said)
        assert remote.judge(RIGHT, ADD).status is Status.INFRASTRUCTURE


def test_less_isolation_is_refused_at_the_start() -> None:
    with (
        Judge(LIMITS, 1, layers=(SECCOMP,)) as lower,
        Serving(app_of(lower, 8)) as server,
        pytest.raises(UserError, match="isolates at the level 'syscalls'"),
    ):
        RemoteJudge([server.url], LIMITS, 1, minimum=Isolation.FILES)


OTHER: list[tuple[dict[str, Any], str]] = [
    ({"limits": dataclasses.replace(LIMITS, cpu_seconds=2.0)}, r"limits: cpu_seconds \(2.0 there, 1.0 here\)"),
    ({"limits": dataclasses.replace(LIMITS, exposed="accept")}, r"limits: exposed \(accept there, refuse here\)"),
    ({"packages": ("numpy==1.0 0a1b",)}, r"packages \(\['numpy==1.0 0a1b'\] there, \[\] here\)"),
    ({"code": "0" * 64}, r"code of the sandbox \(000000000000 there, "),
    ({"interpreter": "cpython 3.14.1"}, r"interpreter \(cpython 3.14 there, cpython 3.11 here\)"),
]


@pytest.mark.parametrize(("change", "named"), OTHER)
def test_a_server_that_would_give_other_verdicts_is_refused(judge: Judge, change: dict[str, Any], named: str) -> None:
    other: Any = SimpleNamespace(
        isolation=judge.isolation, configuration=dataclasses.replace(judge.configuration, **change)
    )
    with Serving(app_of(other, 8)) as server, pytest.raises(UserError, match=named) as caught:
        RemoteJudge([server.url], LIMITS, 1)
    assert str(caught.value).count(" there, ") == 1


def test_all_of_a_configuration_is_compared(judge: Judge) -> None:
    """A field that comes to it later must be looked at as well. Layers have a minimum of their own."""
    compared = {name for change, _ in OTHER for name in change}
    assert compared == {field.name for field in dataclasses.fields(judge.configuration)} - {"layers"}


def test_what_does_not_change_a_verdict_is_no_reason_to_refuse(judge: Judge) -> None:
    like = dataclasses.replace(judge.configuration, interpreter="cpython 3.11.99", layers=("seccomp",))
    other: Any = SimpleNamespace(isolation=judge.isolation, configuration=like)
    with Serving(app_of(other, 8)) as server, RemoteJudge([server.url], LIMITS, 1) as remote:
        assert remote.isolation is judge.isolation


def test_packages_are_compared_with_those_installed_here(judge: Judge) -> None:
    with Serving(app_of(judge, 8)) as server, pytest.raises(UserError, match=r"packages \(\[\] there, \['numpy=="):
        RemoteJudge([server.url], LIMITS, 1, packages=["numpy"])


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ({"isolation": "full", "limits": {"cpu_seconds": 1.0}}, "an older version of Reforge"),
        ({"status": "ok"}, "is no judge"),
        ({"isolation": "full", "configuration": None}, "is no judge"),
        ({"isolation": 3, "configuration": {}}, "is no judge"),
        ({"isolation": "full", "configuration": {"limits": {}, "packages": []}}, "is no judge"),
    ],
)
def test_what_is_no_judge_or_an_older_one_is_refused_in_words(health: dict[str, Any], said: str) -> None:
    app = FastAPI()
    app.get("/health")(lambda: health)
    with Serving(app) as server, pytest.raises(UserError, match=said):
        RemoteJudge([server.url], LIMITS, 1)


def test_a_token_is_asked_for(judge: Judge) -> None:
    with Serving(app_of(judge, 8, TOKEN)) as server:
        for token in ("", "another"):
            with pytest.raises(UserError, match="a token is needed"):
                RemoteJudge([server.url], LIMITS, 1, token=token)
        body = {"program": "", "problem": spec_of(ADD).model_dump()}
        assert httpx.post(f"{server.url}/judge", json=body).status_code == 401
        with RemoteJudge([server.url], LIMITS, 1, token=TOKEN) as remote:
            assert remote.judge(RIGHT, ADD).status is Status.ACCEPTED


def test_a_problem_that_cannot_be_judged_is_the_caller_s_mistake(judge: Judge) -> None:
    with Serving(app_of(judge, 8)) as server, RemoteJudge([server.url], LIMITS, 1) as remote:
        with pytest.raises(UserError, match="no entry_point"):
            remote.judge(RIGHT, Problem("p", "", "", (TestCase("call", "[1]", "1"),)))
        unknown = {"program": "", "problem": {"tests": [{"kind": "stdin", "input": "", "expectd": ""}]}}
        assert httpx.post(f"{server.url}/judge", json=unknown).status_code == 422


SURROGATE = "def f(x): return '\ud800'"


@pytest.mark.parametrize("program", [SURROGATE, "x = 1\0", "raise ValueError('\\ud800 \\0')", "é\u2028\U0010ffff("])
def test_text_that_cannot_be_encoded_is_the_program_s_own_fault(judge: Judge, program: str) -> None:
    with Serving(app_of(judge, 8)) as server, RemoteJudge([server.url], LIMITS, 1) as remote:
        verdict = remote.judge(program, ADD)
        assert verdict.status in (Status.COMPILE_ERROR, Status.RUNTIME_ERROR), verdict.reason
        verdict.reason.encode()
        assert verdict == judge.judge(program, ADD)
        assert not remote.events.counts
        with pytest.raises(UserError, match="setup is no text"):
            remote.judge(RIGHT, dataclasses.replace(ADD, setup="\ud800"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"program": "", "problem": {"tests": [{"kind": "stdin", "input": "\\ud800"}]}}',
        b'{"program": 1, "problem": {"tests": [{"kind": "stdin", "input": NaN}]}}',
        b'{"program": "", "problem": ' + b"[" * 5000,
        b'{"program": "", "problem": ' + b"9" * 5000 + b"}",
        b"\xff",
        b"",
    ],
)
def test_no_request_breaks_the_server(judge: Judge, body: bytes) -> None:
    with Serving(app_of(judge, 8)) as server:
        answer = httpx.post(f"{server.url}/judge", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), answer.text


def test_limits_without_a_bound_go_over_http() -> None:
    limits = dataclasses.replace(LIMITS, budget_seconds=float("inf"))
    with Judge(limits, 1) as judge, Serving(app_of(judge, 8)) as server, RemoteJudge([server.url], limits, 1) as remote:
        assert remote.judge(RIGHT, ADD).status is Status.ACCEPTED


def test_a_long_request_is_refused_whatever_its_headers_say(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_BODY_BYTES", 100_000)
    headers = {"Content-Type": "application/json"}
    with Serving(app_of(judge, 8)) as server:
        for length in (99_000, 101_000):
            body = json.dumps({"program": RIGHT + "#" * length, "problem": spec_of(ADD).model_dump()}).encode()
            in_pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
            for content in (body, in_pieces):  # the second without a length in its headers
                answer = httpx.post(f"{server.url}/judge", content=content, headers=headers)
                assert answer.status_code == (200 if length == 99_000 else 413), answer.text
        with RemoteJudge([server.url], LIMITS, 1) as remote, pytest.raises(UserError, match="MiB to send"):
            remote.judge("#" * 101_000, ADD)
