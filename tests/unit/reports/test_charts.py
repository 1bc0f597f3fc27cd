import math
import re
from xml.etree import ElementTree

import pytest

from reforge.reports.charts import _smooth, _ticks, dot_chart, line_chart
from reforge.reports.records import RungCurve


def curve(name, values, limit=48):
    return RungCurve(name, limit, tuple({"step": i + 1, "reward/mean": y} for i, y in enumerate(values)))


def test_a_chart_is_well_formed_and_marks_the_switch():
    svg = str(line_chart("reward/mean", "Reward & more", [curve("16k", [0.0, 0.5]), curve("32k", [1.0, 1.0])], True))
    root = ElementTree.fromstring(svg)
    assert next(t.text for t in root.iter("text")) == "Reward & more"
    assert {"16k", "32k", "100%"} <= {t.text for t in root.iter("text")}
    assert sum(p.get("stroke-dasharray") == "4 3" for p in root.iter("path")) == 1
    # left 38, right 352, four steps: x = 38 + 78.5 · step; y = 168 − 138 · reward
    assert "M116.5 168L195 99" in svg
    assert "M273.5 30L352 30" in svg


def test_a_reward_above_1_stays_in_the_frame():
    svg = str(line_chart("reward/mean", "Reward", [curve("16k", [0.5, 1.1])], True))
    ys = [float(y) for d in re.findall(r' d="([^"]+)"', svg) for y in re.findall(r"[ML][\d.]+ (-?[\d.]+)", d)]
    assert min(ys) >= 30 - 6  # the frame's top, and the mark of a rung's end
    assert "100%" in svg


def test_steps_without_a_value_leave_a_gap_not_a_zero():
    gappy = RungCurve("16k", 48, ({"reward/mean": 0.5}, {}, {"reward/mean": math.nan}, {"reward/mean": 0.5}))
    svg = str(line_chart("reward/mean", "Reward", [gappy], True))
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert all(
        y == "99" for y in re.findall(r"[ML][\d.]+ ([\d.]+)", svg.split("stroke-linejoin")[0].split("<path")[-1])
    )


def test_an_empty_chart_is_still_a_chart():
    for chart in (line_chart("length/mean", "Length", [curve("16k", [])], False), dot_chart({}, {"16k": 48})):
        assert ElementTree.fromstring(str(chart)).tag.endswith("svg")


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [(1.0, [0, 0.25, 0.5, 0.75, 1.0]), (96, [0, 25, 50, 75, 100]), (48, [0, 20, 40, 60]), (0.3, [0, 0.1, 0.2, 0.3])],
)
def test_ticks_are_round_and_reach_the_top(highest, ticks):
    assert _ticks(highest) == pytest.approx(ticks)


def test_the_bold_line_is_the_mean_of_the_last_five():
    assert _smooth([(i, float(i)) for i in range(1, 7)]) == [(1, 1), (2, 1.5), (3, 2), (4, 2.5), (5, 3), (6, 4)]
