from collections.abc import Sequence

from reforge.evaluation.cut import cut
from reforge.records import Rollout

ROLLOUT = Rollout("p", 0, 1, (2, 2, 3, 3), (9,), (1, 2, 3, 4), (-0.1, -0.2, -0.3, -0.4), "stop", "1 2 3 4")


def decode(token_ids: Sequence[int]) -> str:
    return " ".join(map(str, token_ids))


def test_a_shorter_limit_keeps_the_first_tokens_and_says_truncated() -> None:
    shorter = cut(ROLLOUT, 3, decode)
    assert (shorter.token_ids, shorter.logprobs, shorter.text) == ((1, 2, 3), (-0.1, -0.2, -0.3), "1 2 3")
    assert shorter.truncated
    assert (shorter.seed, shorter.policy_versions, shorter.prompt_ids) == (1, (2, 2, 3), (9,))


def test_a_limit_that_is_just_reached_cuts_nothing() -> None:
    """The last token is the end token: the answer was complete at exactly this length."""
    assert cut(ROLLOUT, 4, decode) is ROLLOUT
    assert not cut(ROLLOUT, 400, decode).truncated
