"""The requests of a sampler to its servers, and the answers, which are checked before they are used."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from reforge.errors import InfrastructureError

_NAMED = 8


@dataclass(frozen=True)
class Sampling:
    temperature: float
    top_p: float
    max_tokens: int


class Lost(InfrastructureError):
    """The error of a server that does not answer as a living one does."""


def lost(url: str, error: Exception) -> Lost:
    return Lost(f"The sampler at {url} broke off: {type(error).__name__}: {error}.")


def check(url: str, response: httpx.Response) -> None:
    if response.status_code != 200:
        kind = Lost if response.status_code >= 500 else InfrastructureError
        raise kind(f"The sampler at {url} answered {response.status_code}: {response.text[:500]}.")


def token_header() -> dict[str, str]:
    """Return the header with the token, which the servers of `reforge sampler serve` share with their clients; empty
    where none is set. The token stands in no file of ours."""
    token = os.environ.get("REFORGE_SAMPLER_TOKEN", "")
    return {"Authorization": f"Bearer {token}"} if token else {}


def real(value: Any) -> float:
    """Return the value as a float; NaN for what is no number."""
    try:
        return float(value) if type(value) in (float, int) else math.nan
    except OverflowError:
        return math.inf


def check_answer(url: str, answer: Any, requests: int) -> None:
    """Raise Lost for what cannot be a rollout; whether its numbers are right is asked later."""
    known = isinstance(answer, dict) and type(answer.get("number")) is int and 0 <= answer["number"] < requests
    for key in ("token_ids", "versions", "logprobs"):
        known = known and isinstance(answer.get(key), list)
        if key != "logprobs":
            known = known and all(type(value) is int and 0 <= value < 2**31 for value in answer[key])
    if not known or "finish_reason" not in answer:
        raise Lost(f"The sampler at {url} answered what is no rollout: {str(answer)[:200]}.")


def named(canary: Sequence[int]) -> list[int]:
    """Return the tokens that a server is asked about as the one after a canary: some of the canary's own. Most of them
    are unlikely there, and an unlikely token is what a temperature moves most."""
    return list(dict.fromkeys(canary))[:_NAMED]


def request(token_ids: Sequence[int], sampling: Sampling, seed: int) -> dict[str, Any]:
    return {
        "token_ids": list(token_ids),
        "seed": seed,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "prompt_logprobs": False,
    }
