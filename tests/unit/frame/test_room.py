"""Every prompt with the longest answer to it must fit: sums done by hand, in a context of 100 tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reforge.config.section import Limit
from reforge.errors import UserError
from reforge.frame.room import require_room, room_for_prompts

PROMPTS = {"train": [10, 40, 30], "heldout": [5, 20, 60]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 100}))
    (tmp_path / "tokenizer_config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "more"),
    [
        (Limit("max_tokens", 60), Limit("max_tokens", 61)),  # 40 of train
        (Limit("limits.a", 40, "heldout"), Limit("limits.a", 41, "heldout")),  # 60
        (Limit("limits.a", 80, "heldout", first=2), Limit("limits.a", 81, "heldout", first=2)),  # 20
        (Limit("max_tokens", 65, prompt=35), Limit("max_tokens", 66, prompt=35)),  # 40 is left out, so 35 at most
        (Limit("max_tokens", 60, prompt=50), Limit("max_tokens", 61, prompt=50)),  # 40, less than 50
    ],
)
def test_the_longest_prompt_that_is_asked_and_the_answer_fill_the_context_to_the_last_token(
    model: Path, limit: Limit, more: Limit
) -> None:
    require_room(model, "rl/short", [limit], PROMPTS)
    with pytest.raises(UserError, match=rf"^rl\.short\.{re.escape(more.key)} is {more.tokens} and the longest"):
        require_room(model, "rl@short", [limit, more], PROMPTS)


def test_without_prompts_an_answer_may_fill_the_context_and_without_limits_nothing_is_asked(model: Path) -> None:
    assert require_room(model, "rl/short", [Limit("max_tokens", 100)], {"train": []}) is None  # type: ignore[func-returns-value]
    with pytest.raises(UserError, match="max_tokens is 101 and the longest prompt has 0 tokens"):
        require_room(model, "rl/short", [Limit("max_tokens", 101)], {"train": []})
    assert require_room(model, "sft/cold", [], {}) is None  # type: ignore[func-returns-value]


def test_the_room_for_prompts_is_what_the_answer_leaves_by_hand(model: Path) -> None:
    assert room_for_prompts(model, 60) == 40


def test_what_may_be_lowered_is_named(model: Path) -> None:
    with pytest.raises(UserError) as caught:
        require_room(model, "evaluate@sft", [Limit("limits.long", 41, "heldout")], PROMPTS)
    assert str(caught.value) == (
        "evaluate.sft.limits.long is 41 and the longest prompt has 60 tokens: together more than 100, which is "
        f"max_position_embeddings in {model}/config.json. Lower that limit, or curate.*.statement_characters, or raise "
        "the model's if it was trained for more."
    )
    with pytest.raises(UserError, match=r"Lower that limit, or rl\.long\.max_prompt_tokens, or curate\."):
        require_room(model, "rl@long", [Limit("max_tokens", 100, prompt=9)], PROMPTS)


def test_the_tokenizer_s_limit_counts_where_it_is_the_lesser(model: Path) -> None:
    """The sampler goes by the lesser of the two."""
    (model / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 90}))
    with pytest.raises(UserError, match=r"more than 90, which is model_max_length in .*tokenizer_config\.json"):
        require_room(model, "rl@long", [Limit("max_tokens", 51)], PROMPTS)
    (model / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 10**30})
    )  # as tokenizers without one say
    require_room(model, "rl@long", [Limit("max_tokens", 60)], PROMPTS)
