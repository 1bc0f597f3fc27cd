"""The sampler against servers that are played: what they say is checked before it is trained on."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reforge.errors import InfrastructureError, UserError
from reforge.records import Prompt
from reforge.rollouts.flags import ALWAYS, wrong
from reforge.rollouts.sampler import Sampler, Sampling, VllmServer, Weights

RIGHT = {**ALWAYS, "dtype": "float32", "max-num-batched-tokens": 65536, "max-model-len": 256}
LOGITS = (2.0, 0.0, -3.0, 1.0)  # of a policy that says the same everywhere
CANARY = [0, 1, 2, 3]


def logprob(token: int, temperature: float) -> float:
    return LOGITS[token] / temperature - math.log(sum(math.exp(logit / temperature) for logit in LOGITS))


class Played(BaseHTTPRequestHandler):
    raw = False
    flags: dict[str, Any] | None = RIGHT
    logprobs: Any = None  # in place of the right ones

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._say(404 if self.flags is None else 200, self.flags or {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("weights"):
            self._say(200, {"version": body["version"], "pause_seconds": 0.0})
            return
        self._say(200, *(self._answer(number, request) for number, request in enumerate(body["requests"])))

    def _answer(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        temperature = 1.0 if self.raw else request["temperature"]
        tokens = [number % len(LOGITS)]
        return {
            "number": number,
            "token_ids": tokens,
            "logprobs": [logprob(tokens[0], temperature)] if self.logprobs is None else self.logprobs,
            "versions": [0],
            "finish_reason": "stop",
            "prompt_logprobs": [logprob(token, 1.0) for token in request["token_ids"][1:]],
            "next_logprobs": [logprob(token, temperature) for token in request.get("next_of", [])],
        }

    def _say(self, status: int, *lines: dict[str, Any]) -> None:
        body = "\n".join(map(json.dumps, lines)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def played(request: pytest.FixtureRequest) -> Iterator[Sampler]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Chosen", (Played,), getattr(request, "param", {})))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    sampler = Sampler([VllmServer(f"http://127.0.0.1:{server.server_port}")], lambda ids: str(list(ids)), 1e-4, 10.0)
    yield sampler
    sampler.close()
    server.shutdown()
    thread.join()
    server.server_close()


def weights(temperature: float) -> Weights:
    own = [logprob(token, 1.0) for token in CANARY[1:]]
    return Weights(0, Path(), [CANARY], [own], temperature, [[logprob(token, temperature) for token in CANARY]])


@pytest.mark.parametrize(("played", "passes"), [({}, True), ({"raw": True}, False)], indirect=["played"])
def test_raw_log_probs_pass_at_temperature_1_and_nowhere_else(played: Sampler, passes: bool) -> None:
    assert played.load(weights(1.0)) < 1e-9
    if passes:
        assert played.load(weights(0.6)) < 1e-9
        return
    with pytest.raises(InfrastructureError, match="log-probs differ"):
        played.load(weights(0.6))


@pytest.mark.parametrize(
    ("played", "said"),
    [
        ({"flags": {**RIGHT, "logprobs-mode": "raw_logprobs"}}, "logprobs-mode is raw_logprobs, and processed"),
        ({"flags": {**RIGHT, "enable-prefix-caching": True}}, "enable-prefix-caching is True, and False is wanted"),
        ({"flags": {**RIGHT, "enable-chunked-prefill": True}}, "enable-chunked-prefill is True, and False is wanted"),
        ({"flags": {**RIGHT, "dtype": "bfloat16"}}, "dtype is bfloat16, and float32 is wanted"),
        ({"flags": {**RIGHT, "max-num-batched-tokens": 128}}, "max-num-batched-tokens is 128, and at least 256"),
        ({"flags": {**RIGHT, "seed": 7}}, "seed is 7, and 0 is wanted"),
        ({"flags": None}, "is none of Reforge"),
    ],
    indirect=["played"],
)  # fmt: skip
def test_a_server_with_wrong_flags_is_refused_by_name(played: Sampler, said: str) -> None:
    with pytest.raises(UserError, match=rf"(?s){said}.*reforge sampler serve"):
        played.require_flags({**ALWAYS, "dtype": "float32"})


def test_the_right_flags_pass(played: Sampler) -> None:
    played.require_flags({**ALWAYS, "dtype": "float32"})
    assert wrong(RIGHT) == []
    assert len(wrong({})) == len(ALWAYS) + 1


BAD: list[Any] = [[-math.inf], [math.nan], [math.inf], [0.5], [None], ["-0.5"], [10**400], [True], [], [-0.5, -0.5]]


@pytest.mark.parametrize("played", [{"logprobs": bad} for bad in BAD], indirect=True)
def test_log_probs_that_cannot_be_are_noted_and_the_group_stays_whole(played: Sampler) -> None:
    found = list(played.sample([Prompt("p", (1, 2), index) for index in range(3)], Sampling(1.0, 1.0, 4), "x"))
    assert sorted(rollout.index for rollout in found) == [0, 1, 2]
    assert played.events.counts == {"refused": 3}


@pytest.mark.parametrize("played", [{"logprobs": "none"}], indirect=True)
def test_what_is_no_rollout_is_the_answer_of_a_lost_server(played: Sampler) -> None:
    with pytest.raises(InfrastructureError, match=r"answered what is no rollout"):
        list(played.sample([Prompt("p", (1, 2), index) for index in range(3)], Sampling(1.0, 1.0, 4), "x"))
