"""Prompt → Rollout through vLLM over HTTP, and the weight update with its parity check.

A server that is lost (it died, hangs, or answers 500) leaves no trace in the numbers: one of ours is started again and
given the same weights and the same wave, with the same seeds; the wave of one that is not ours goes to a server that
is left.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx

from reforge.errors import Events, InfrastructureError, UserError
from reforge.records import Prompt, Rollout
from reforge.rollouts.flags import Flags, wrong
from reforge.rollouts.protocol import Lost, check, check_answer, lost, named, real, request, token_header
from reforge.rollouts.protocol import Sampling as Sampling
from reforge.rollouts.refusal import refusal

logging.getLogger("httpx").setLevel(logging.WARNING)  # one line a request would bury the progress bars
_LIVES = 3  # times that a wave, or new weights, are sent before the loss of a server is an error
_START = "Start it with `reforge sampler serve` (docs/pipelining.md)."


@dataclass(frozen=True)
class Weights:
    """A policy version in a folder, with log-probs that its owner finds. `logprobs` are those of the tokens of
    `canaries`, all but the first of each. `next_logprobs` are those of the tokens `named` of each canary as the one
    after it, at the `temperature` of drawing: what a server says of a prompt's own tokens does not depend on that.
    """

    version: int
    folder: Path
    canaries: Sequence[Sequence[int]]
    logprobs: Sequence[Sequence[float]]
    temperature: float = 1.0
    next_logprobs: Sequence[Sequence[float]] = ()


@dataclass
class VllmServer:
    """A server at `url`. `restart` starts one of ours again at the same `url`; it is None for one that is not ours."""

    url: str
    restart: Callable[[], None] | None = None


@dataclass
class Sampler:
    """One or more vLLM servers holding the same weights. The rollouts of a group are dealt to the servers in turn, so
    that a long one holds up no other group. `patience`: seconds without any sign of life after which a server is lost.
    `events`: servers `restarted` and `dropped`, rollouts `refused`.
    """

    servers: list[VllmServer]
    decode: Callable[[Sequence[int]], str]
    parity_tolerance: float
    patience: float
    weights: Weights | None = None
    pause_seconds: float = 0.0  # the longest pause of a server in the last weight update
    events: Events = field(default_factory=Events)
    working: Callable[[int], Any] = lambda number: nullcontext()  # entered while a server works, for a timeline

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.Client(timeout=httpx.Timeout(self.patience), limits=limits, headers=token_header())

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: str) -> Iterator[Rollout]:
        """Yield a rollout of each prompt, in the order in which they finish.

        The seed of a rollout comes from (`seed`, problem, index, turn): distinct within a group and independent of how
        prompts are spread over servers (verl#6857).
        """
        servers = list(self.servers)
        found: SimpleQueue[Rollout | BaseException | None] = SimpleQueue()

        def wave(number: int) -> None:
            try:
                with self.working(number):
                    for rollout in self._wave(servers[number], prompts[number :: len(servers)], sampling, seed):
                        found.put(rollout)
                found.put(None)
            except BaseException as error:
                found.put(error)

        pool = ThreadPoolExecutor(len(servers))
        try:
            for number in range(len(servers)):
                pool.submit(wave, number)
            for _ in servers:
                while (item := found.get()) is not None:
                    if isinstance(item, BaseException):
                        raise item
                    yield item
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def load(self, weights: Weights) -> float:
        """Swap every server's weights, and return the largest |Δ log p| between a server and their owner on the
        canaries.

        Raises InfrastructureError when it exceeds the tolerance: a reload that reports success can still leave old or
        mixed weights in the engine (a packed copy of a tied lm_head, a stale prefix cache), and nothing downstream
        would notice: rewards only get slowly worse.
        """
        self.weights, self.pause_seconds = weights, 0.0
        return max(self._persist(server, self._load) for server in list(self.servers))

    def close(self) -> None:
        """Close the connections. Whoever still waits for an answer gets an error."""
        self._client.close()

    def _wave(self, server: VllmServer, prompts: Sequence[Prompt], sampling: Sampling, seed: str) -> Iterator[Rollout]:
        """Yield the rollouts of a wave. A wave that was broken off is sent again whole, so that every engine step has
        the composition that it would have had: what had been answered is answered alike, and skipped."""
        seeds = [rollout_seed(seed, prompt) for prompt in prompts]
        requests = [request(prompt.token_ids, sampling, number) for prompt, number in zip(prompts, seeds, strict=True)]
        answered: set[int] = set()
        for life in range(_LIVES):
            try:
                for answer in self._post_wave(server.url, requests):
                    number = answer["number"]
                    if number not in answered:
                        answered.add(number)
                        yield self._rollout(prompts[number], seeds[number], answer)
                return
            except Lost as error:
                if life == _LIVES - 1:
                    raise
                server = self._replaced(server, error)

    def _rollout(self, prompt: Prompt, seed: int, answer: dict[str, Any]) -> Rollout:
        """Return the rollout of an answer. One that is refused is noted here, and kept: its group must stay whole. It
        has no advantage (training/credit.py)."""
        token_ids = tuple(answer["token_ids"])
        rollout = Rollout(
            problem_id=prompt.problem_id,
            index=prompt.index,
            seed=seed,
            policy_versions=tuple(answer["versions"]),
            prompt_ids=prompt.token_ids,
            token_ids=token_ids,
            logprobs=tuple(map(real, answer["logprobs"])),
            finish_reason="length" if answer["finish_reason"] == "length" else "stop",
            text=self.decode(token_ids),
            turn=prompt.turn,
        )
        if why := refusal(rollout):
            self.events.note("refused", f"Rollout {prompt.problem_id}/{prompt.index} is not trained on: {why}.")
        return rollout

    # --- servers that are lost ------------------------------------------------------------------------------------

    def _persist(self, server: VllmServer, call: Callable[[VllmServer], float]) -> float:
        for _ in range(_LIVES - 1):
            try:
                return call(server)
            except Lost as error:
                server = self._replaced(server, error)
        return call(server)

    def _replaced(self, server: VllmServer, error: Lost) -> VllmServer:
        """Return a server to go on with: the same one, started again and given the weights that it had; or, where it is
        not ours, a different one. Raises InfrastructureError where none is left."""
        if server.restart is not None:
            self.events.note("restarted", f"{error} It is started again, and its requests are sent again.")
            server.restart()
            if self.weights is not None:
                self._load(server)
            return server
        self.servers = [other for other in self.servers if other is not server]
        if not self.servers:
            raise InfrastructureError(f"{error} It was the last one.") from error
        self.events.note("dropped", f"{error} It is dropped, and its requests go to {self.servers[0].url}.")
        return self.servers[0]

    # --- weights --------------------------------------------------------------------------------------------------

    def _load(self, server: VllmServer) -> float:
        weights = self.weights
        assert weights is not None
        body = {"folder": str(weights.folder.resolve()), "version": weights.version}  # it may run in another folder
        answer = self._post(server.url, "weights", body)
        if answer["version"] != weights.version:
            raise InfrastructureError(f"{server.url} was given version {weights.version} and has {answer['version']}.")
        self.pause_seconds = max(self.pause_seconds, answer["pause_seconds"])
        gap = self.gap(server, weights)
        if not gap <= self.parity_tolerance:
            raise InfrastructureError(
                f"The sampler at {server.url} was given policy version {weights.version}, but its log-probs differ "
                f"from the learner's by up to {gap:.2e}, more than sampler.parity_tolerance = "
                f"{self.parity_tolerance:.0e}: it is not running the weights it was given. The stage was stopped "
                "before it could sample from them; start it again, and it resumes from its last checkpoint."
            )
        return gap

    def gap(self, server: VllmServer, weights: Weights) -> float:
        """Return max |Δ log p| over the canaries, of their own tokens and of those drawn after them; NaN counts as a
        gap without bound. A temperature below 1 magnifies the rounding of the latter, so their gaps are multiplied by
        it."""
        drawing = Sampling(weights.temperature, 1.0, 1)
        requests = [
            request(ids, drawing, 0)
            | {"prompt_logprobs": True}
            | ({"next_of": named(ids)} if weights.next_logprobs else {})
            for ids in weights.canaries
        ]
        gaps = list[float]()
        for answer in self._post_wave(server.url, requests):
            number = answer["number"]
            pairs = zip(weights.logprobs[number], answer["prompt_logprobs"], strict=True)
            gaps += [abs(mine - real(other)) for mine, other in pairs]
            if weights.next_logprobs:
                drawn = zip(weights.next_logprobs[number], answer["next_logprobs"], strict=True)
                gaps += [abs(mine - real(other)) * min(1.0, weights.temperature) for mine, other in drawn]
        return math.inf if any(map(math.isnan, gaps)) else max(gaps)

    def require_flags(self, wanted: Flags) -> None:
        """Raise UserError where a server runs with different flags, or does not say with which."""
        for server in self.servers:
            try:
                response = self._client.get(f"{server.url}/reforge/flags")
                check(server.url, response)
                found = wrong(dict(response.json()), wanted)
            except (httpx.TransportError, ValueError, InfrastructureError) as error:
                if isinstance(error, httpx.TransportError | Lost):
                    continue  # it is lost, which is noticed and recovered from when it is asked for something
                raise UserError(f"The server at {server.url} is none of Reforge: {error} {_START}") from error
            if found:
                raise UserError(f"The sampler at {server.url} runs with wrong flags: {'; '.join(found)}. {_START}")

    # --- HTTP -----------------------------------------------------------------------------------------------------

    def _post_wave(self, url: str, requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        answered = 0
        try:
            with self._client.stream("POST", f"{url}/reforge/wave", json={"requests": requests}) as response:
                if response.status_code != 200:
                    response.read()
                check(url, response)
                for line in response.iter_lines():
                    if line:
                        answered += 1
                        answer = json.loads(line)
                        check_answer(url, answer, len(requests))
                        yield answer
        except (httpx.TransportError, httpx.StreamError, ValueError) as error:
            raise lost(url, error) from error
        if answered != len(requests):
            raise Lost(f"The sampler at {url} answered {answered} of {len(requests)} requests.")

    def _post(self, url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._client.post(f"{url}/reforge/{path}", json=body)
            check(url, response)
            return dict(response.json())
        except (httpx.TransportError, ValueError) as error:
            raise lost(url, error) from error


def rollout_seed(run: str, prompt: Prompt) -> int:
    """Return 31 bits (vLLM's CPU generator takes no more) of a hash of `run` and of what names a rollout in it: nothing
    but chance gives two rollouts the same seed."""
    turn = f"/turn {prompt.turn}" if prompt.turn else ""
    digest = hashlib.sha256(f"{run}/{prompt.problem_id}/{prompt.index}{turn}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1
