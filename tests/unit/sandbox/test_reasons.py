"""Nothing that a program says about itself can break what stores, sends or shows a verdict."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.records import Status
from reforge.sandbox import reasons
from reforge.sandbox.limits import Failed
from reforge.sandbox.reasons import LONGEST, fit

anything = st.text(st.characters(codec=None) | st.sampled_from("\ud800\udfff\x00\x1b/\"' 0xaf"))


@given(anything)
def test_whatever_is_said_is_short_and_can_be_written(said: str) -> None:
    reason = Failed(Status.RUNTIME_ERROR, said).reason
    assert len(reason) <= LONGEST
    assert json.loads(json.dumps(reason, ensure_ascii=False).encode()) == reason
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", reason)


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=LONGEST))
def test_plain_words_stay_as_they_are(said: str) -> None:
    assert fit(said) == said or "/reforge-" in said or "0x" in said


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("E: \ud800 and \x00", "E: \ufffd and \ufffd"),
        ("two\nlines\tand\r\x1b[31m", "two\nlines\tand\ufffd\ufffd[31m"),
        ("<object object at 0x7f12ab34cd50> in '/tmp/reforge-a_b1/x.py'", "<object object at 0x…> in '…/x.py'"),
        ("in=/tmp/reforge-1/reforge-2/x and /reforge-", "in=…/x and /reforge-"),
        ("é" * 1000, "é" * LONGEST),
    ],
)
def test_what_is_left_out(said: str, reason: str) -> None:
    assert fit(said) == reason


def test_it_is_cut_before_anything_looks_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Watched:
        def sub(self, _: object, text: str) -> str:
            seen.append(len(text))
            return text

    for name in ("_UNFIT", "_ADDRESS", "_WORD"):
        monkeypatch.setattr(reasons, name, Watched())
    fit("/" * 10_000_000)
    assert seen == [4 * LONGEST] * 3
