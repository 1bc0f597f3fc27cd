"""The report on a phone: nothing but a box that scrolls of its own is wider than the screen."""

from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.face.browser import browser, find_browser
from reforge.stages import report
from reforge.tracking.timeline import Span
from reforge.tracking.timeline_page import render_timeline

PHONE = 390


class Boxes(HTMLParser):
    """Of each table the classes of what it stands in."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tables = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([dict(attrs).get("class", "") for _, attrs in self.open])
        if tag not in ("meta", "br", "path", "circle"):
            self.open.append((tag, attrs))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass


SPANS = [Span(lane, "train", float(step), step + 0.9, step) for step in range(8) for lane in ("learner", "vllm 0")]
LONG = "a_word_without_a_place_to_break_" * 6


@pytest.fixture
def hostile(finished):
    """Long words wherever others than we choose them: the experiment's name, a model's, an answer, a verdict's."""
    evaluate = finished.dep("outputs") / "evaluate"
    (evaluate / "student").rename(evaluate / LONG)
    models = {LONG if name == "student" else name: one for name, one in finished.cfg.evaluate.items()}
    finished.cfg = finished.cfg.model_copy(update={"experiment": LONG, "evaluate": models})
    rows = pq.read_table(evaluate / "rl-long" / "rollouts.parquet").to_pylist()
    pq.write_table(
        pa.Table.from_pylist([{**row, "reason": LONG, "text": LONG} for row in rows]),
        evaluate / "rl-long" / "rollouts.parquet",
    )
    report.run(finished)
    (finished.out / "timeline.html").write_text(render_timeline(LONG, SPANS))
    return finished.out


@pytest.mark.parametrize(("name", "tables"), [("report.html", 4), ("timeline.html", 1)])
def test_each_table_scrolls_in_a_box_of_its_own(hostile, name, tables):
    found = Boxes((hostile / name).read_text(encoding="utf-8")).tables
    assert len(found) == tables
    assert all("scroll" in classes for classes in found)


@pytest.mark.skipif(not find_browser(), reason="no Chromium here (apt install chromium)")
@pytest.mark.parametrize("name", ["report.html", "timeline.html"])
def test_no_page_is_wider_than_its_screen(hostile, name):
    with browser() as tab:
        for width in (320, PHONE, 768):
            tab.open((hostile / name).resolve().as_uri(), width, 844)
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            wide = (
                "[...document.querySelectorAll('body *')].filter(e => !e.parentNode.closest('.scroll') && "
                f"e.getBoundingClientRect().right > {width} + 0.5).map(e => e.outerHTML.slice(0, 60))"
            )
            assert tab.evaluate(wide) == [], width
