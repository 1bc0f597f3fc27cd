import pytest

from reforge.tracking.timeline import Span, Timeline, steady_clock
from reforge.tracking.timeline_page import bottleneck, render_timeline, shares

SPANS = [
    Span("learner", "wait", 0.0, 4.0, 1),
    Span("learner", "train", 4.0, 10.0, 1),
    Span("sampler", "sample", 0.0, 4.0, 1),
    Span("sampler", "wait", 4.0, 10.0, 2),
]


def test_shares_by_hand() -> None:
    assert shares(SPANS) == {"learner": {"wait": 0.4, "train": 0.6}, "sampler": {"sample": 0.4, "wait": 0.6}}
    assert shares([]) == {}


@pytest.mark.parametrize(
    ("learner", "sampler", "words"),
    [
        (0.4, 0.6, "take turns"),
        (0.38, 0.02, "waits 38% of the time for rollouts"),
        (0.0, 0.5, "sampler waits 50% of the time for new weights"),
        (0.03, 0.05, "both busy"),
    ],
)
def test_the_bottleneck_is_named(learner: float, sampler: float, words: str) -> None:
    assert words in bottleneck({"learner": {"wait": learner}, "sampler": {"wait": sampler}})


def test_the_page_escapes_names_and_needs_nothing_from_outside() -> None:
    page = render_timeline("rl@<b>", SPANS)
    assert "rl@&lt;b&gt;" in page
    assert page.count("<rect") == 4
    assert "<script" not in page
    assert "src=" not in page


def test_what_was_got_over_is_told_and_takes_no_share() -> None:
    moments = [Span("judge", "lost", 1.0, 1.0, 0), Span("sampler", "<restarted>", 2.0, 2.0, 0)]
    page = render_timeline("rl@short", [*SPANS, *moments, moments[0]])
    assert "Recovered from: judge lost (2 times), sampler &lt;restarted&gt;" in page
    assert shares([*SPANS, *moments]) == shares(SPANS)


def test_a_clock_that_is_set_back_turns_no_span_around(tmp_path, monkeypatch) -> None:
    timeline = Timeline(tmp_path / "timeline.json", steady_clock())
    with timeline.span("learner", "train", 1):
        monkeypatch.setattr("time.time", lambda: 0.0)
    with timeline.span("learner", "train", 2):
        pass
    first, second = timeline.spans
    assert 1.6e9 < first.start <= first.end <= second.start <= second.end
