"""Refuse rollouts that must not be trained on, because what the sampler says of their tokens is impossible.

The ratio of the learner's probability to the sampler's weighs every token: a log-prob of -inf gives it the largest
weight there is, and NaN moves all weights at once. One such answer leaves its group, as if it had not been drawn, and
is counted.
"""

from __future__ import annotations

from reforge.records import Rollout

_HIGHEST = 1e-4  # nats: a probability of 1, and what float32 rounds a sum over a large vocabulary by
_LOWEST = -104.0  # nats: a probability that float32 holds as 0, so nothing draws such a token


def refusal(rollout: Rollout) -> str:
    """Return why the rollout is refused, as text; empty where it may be trained on. This depends on the rollout alone,
    so it is asked wherever one comes from: a sampler, a file, a replay."""
    tokens = len(rollout.token_ids)
    if not tokens:
        return "it has no tokens"
    for what, values in (("log-probs", rollout.logprobs), ("policy versions", rollout.policy_versions)):
        if len(values) != tokens:
            return f"it has {tokens} tokens and {len(values)} {what}"
    for place, value in enumerate(rollout.logprobs):
        if not _LOWEST <= value <= _HIGHEST:  # NaN is not in between, either
            return f"the log-prob of token {place} is {value:g}"
    return ""
