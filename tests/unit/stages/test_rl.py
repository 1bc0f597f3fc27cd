import json
import logging

from reforge.errors import Events
from reforge.stages.rl import counts, show
from reforge.tracking.timeline import Span, Timeline


def test_what_was_got_over_is_in_the_log_the_trace_and_the_metrics(tmp_path, caplog) -> None:
    timeline = Timeline(tmp_path / "timeline.json", lambda: 2.5)
    events = {"sampler": Events(), "judge": Events()}
    show(timeline, events)
    events["sampler"].note("restarted", "The sampler broke off. It is started again.")
    events["judge"].note("lost", "A program could not be judged.")
    events["judge"].note("lost", "A program could not be judged.")
    lost = Span("judge", "lost", 2.5, 2.5, 0)
    assert timeline.spans == [Span("sampler", "restarted", 2.5, 2.5, 0), lost, lost]
    traced = [line for line in timeline.path.read_text().splitlines() if '"restarted"' in line]
    assert json.loads(traced[0].rstrip(","))["ts"] == 2_500_000
    assert counts(events) == {"sampler/restarted": 1.0, "judge/lost": 2.0}
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert "It is started again." in caplog.text
