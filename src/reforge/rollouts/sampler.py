"""Prompt → Rollout through vLLM over HTTP, and the weight update with its parity check."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from reforge.errors import InfrastructureError
from reforge.types import Prompt, Rollout

logging.getLogger("httpx").setLevel(logging.WARNING)  # one line a request would bury the progress bars
_TIMEOUT = httpx.Timeout(30.0, read=None)  # a wave answers when its first rollout ends, however long that takes


@dataclass(frozen=True)
class Sampling:
    temperature: float
    top_p: float
    max_tokens: int


@dataclass
class Sampler:
    """One or more vLLM servers holding the same weights. Prompts of a wave are dealt to the servers in turn."""

    urls: Sequence[str]
    decode: Callable[[Sequence[int]], str]
    policy_version: int = 0
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=_TIMEOUT))

    def sample(self, prompts: Sequence[Prompt], copies: int, sampling: Sampling, seed: str) -> Iterator[Rollout]:
        """`copies` rollouts of each prompt, in the order in which they finish.

        The seed of a rollout comes from (`seed`, problem, index): distinct within a group and independent of how
        prompts are spread over servers (verl#6857).
        """
        jobs = [(prompt, index) for prompt in prompts for index in range(copies)]
        for server, url in enumerate(self.urls):
            yield from self._wave(url, jobs[server :: len(self.urls)], sampling, seed)

    def _wave(self, url: str, jobs: Sequence[tuple[Prompt, int]], sampling: Sampling, seed: str) -> Iterator[Rollout]:
        seeds = [rollout_seed(seed, prompt.problem_id, index) for prompt, index in jobs]
        requests = [
            _request(prompt.token_ids, sampling, number) for (prompt, _), number in zip(jobs, seeds, strict=True)
        ]
        for answer in self._post_wave(url, requests):
            prompt, index = jobs[answer["number"]]
            token_ids = tuple(answer["token_ids"])
            yield Rollout(
                problem_id=prompt.problem_id,
                index=index,
                seed=seeds[answer["number"]],
                policy_version=self.policy_version,
                prompt_ids=prompt.token_ids,
                token_ids=token_ids,
                logprobs=tuple(answer["logprobs"]),
                finish_reason="length" if answer["finish_reason"] == "length" else "stop",
                text=self.decode(token_ids),
            )

    def canary_logprobs(self, canaries: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probs of each token given those before it, from every server in turn: first server's answers first."""
        requests = [_request(ids, Sampling(1.0, 1.0, 1), seed=0) | {"prompt_logprobs": True} for ids in canaries]
        rows = []
        for url in self.urls:
            answers = sorted(self._post_wave(url, requests), key=lambda answer: answer["number"])
            rows += [answer["prompt_logprobs"] for answer in answers]
        return rows

    def load_weights(self, folder: str, policy_version: int) -> None:
        """Swap every server's weights for those in `folder`. Only a parity check afterwards makes the swap done."""
        for url in self.urls:
            body = {"method": "update_weights_from", "args": [os.path.abspath(folder)]}  # it may run elsewhere
            self._checked(url, self._client.post(f"{url}/collective_rpc", json=body))
        self.policy_version = policy_version

    def _post_wave(self, url: str, requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        answered = 0
        try:
            with self._client.stream("POST", f"{url}/reforge/wave", json={"requests": requests}) as response:
                if response.status_code != 200:
                    response.read()
                self._checked(url, response)
                for line in response.iter_lines():
                    answered += 1
                    yield json.loads(line)
        except httpx.TransportError as error:
            raise InfrastructureError(f"The sampler at {url} broke off: {type(error).__name__}: {error}") from error
        if answered != len(requests):
            raise InfrastructureError(f"The sampler at {url} answered {answered} of {len(requests)} requests")

    @staticmethod
    def _checked(url: str, response: httpx.Response) -> None:
        if response.status_code != 200:
            raise InfrastructureError(f"The sampler at {url} answered {response.status_code}: {response.text[:500]}")


def rollout_seed(run: str, problem_id: str, index: int) -> int:
    """31 bits (vLLM's CPU generator takes no more) of a hash: no two rollouts of a run share one by construction."""
    digest = hashlib.sha256(f"{run}/{problem_id}/{index}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def _request(token_ids: Sequence[int], sampling: Sampling, seed: int) -> dict[str, Any]:
    return {
        "token_ids": list(token_ids),
        "seed": seed,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "prompt_logprobs": False,
    }
