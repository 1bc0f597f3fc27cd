import json
import re
from html.parser import HTMLParser

import pytest

from reforge.errors import UserError
from reforge.reports.visible import visible
from reforge.stages import report


class Page(HTMLParser):
    """Collects what could reach outside the file, and the text that a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data):
        self.text += data


def render(ctx):
    report.run(ctx)
    return (ctx.out / "report.html").read_text(encoding="utf-8")


def test_report_holds_the_scores_it_was_given(finished):
    page = Page(render(finished))
    scores = json.loads((finished.dep("outputs") / "evaluate/rl-long/scores.json").read_text())
    estimate = scores["limits"]["long"]["pass@1"]
    assert f"{100 * estimate['value']:.1f}" in page.text
    assert f"{100 * estimate['low']:.1f} – {100 * estimate['high']:.1f}" in page.text
    assert all(
        name in page.text for name in ("base", "sft", "rl-short", "rl-long", "student", "short", "long", "longest")
    )
    assert "limit 48" in page.text  # the rung's limit in the length chart
    assert "2 in training" in page.text  # infra: one step of either rung
    assert "train: 6,000 · heldout: 160 · surplus: 40" in page.text


def test_what_was_verified_is_said_and_nothing_else(finished):
    """The fixture's sft is as it was verified; its base is another one since."""
    assert Page(render(finished)).text.count("R3, bit-exact") == 1
    assert "outputs/sft/cold · R3, bit-exact" in Page(render(finished)).text


def test_each_model_is_followed_to_what_it_was_made_from(finished):
    """The student to its teacher's answers as well; what all learn from is said of all."""
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th><td>(problems[^<]*)</td>', render(finished))
    assert dict(rows) == {
        "base": "problems",
        "sft": "problems · base/policy",
        "rl-short": "problems · sft/cold",
        "rl-long": "problems · rl/short",
        "student": "problems · base/student, sample/teacher",
        "sft-more": "problems · sft/cold",
    }


def test_without_an_evaluation_there_is_no_report(finished):
    finished.cfg = finished.cfg.model_copy(update={"evaluate": {}})
    with pytest.raises(UserError, match=r"nothing to report\. Add one: \+evaluate\.NAME=rungs"):
        report.run(finished)


def test_what_holds_of_the_experiment_is_said_of_it_and_of_no_other(finished):
    for experiment, told in ((finished.cfg.experiment, True), ("another", False)):
        finished.dep("verified.json").write_text(json.dumps({"experiments": {experiment: "within 3 of 5 points."}}))
        assert ("R4, statistically reproducible: within 3 of 5 points." in Page(render(finished)).text) is told
        assert ("R4" in (finished.out / "model-card.md").read_text(encoding="utf-8")) is told


def test_report_is_one_file_and_needs_nothing(finished):
    html = render(finished)
    page = Page(html)
    assert page.links == []
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form"} & set(page.tags)
    assert not re.search(r"url\(|@import|xlink", html)
    assert "default-src 'none'" in html


def test_a_completion_cannot_act_on_the_page(finished):
    html = render(finished)
    page = Page(html)
    assert '<script>alert("x")</script>' in page.text  # the fixture's hostile rollout is shown, as text
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\\u202e\\x1b[2J" in page.text
    assert "value <b>" in page.text  # nor can the words of a verdict
    assert "b" not in set(page.tags) - {"b"}
    assert html.count("<b>") == 18  # only those of the table: 6 models, 3 lengths


def test_equal_inputs_give_equal_bytes(finished):
    first = render(finished)
    table = (finished.out / "table.md").read_bytes()
    assert render(finished) == first
    assert (finished.out / "table.md").read_bytes() == table


def test_metrics_name_every_score_and_the_gain(finished):
    render(finished)
    assert len(finished.metrics) == 6 * 3 + 2 * 3
    pass_at_1 = finished.metrics
    assert pass_at_1["gain"] == pytest.approx(pass_at_1["pass@1/rl-long/long"] - pass_at_1["pass@1/sft/long"], abs=0.01)
    assert pass_at_1["gain/low"] < pass_at_1["gain"] < pass_at_1["gain/high"]
    over = pass_at_1["pass@1/rl-long/long"] - pass_at_1["pass@1/sft-more/long"]
    assert pass_at_1["gain/over/sft-more/value"] == pytest.approx(over, abs=0.01)


def test_what_sampling_brought_is_drawn_beside_what_was_made_without_it(finished):
    """40 steps of 480 tokens, then 40 of 960: 57,600 at the end, a third of them after the first rung."""
    html = render(finished)
    drawn = html[html.index("pass@1 at long over tokens sampled") : html.index("Mean reward of a step")]
    assert ">57,600 tokens<" in drawn
    at = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert [(x - at[0]) / (at[2] - at[0]) for x in at] == pytest.approx([0, 1 / 3, 1], abs=0.01)
    names = re.findall(r">([\w-]+)</text>", drawn)
    assert [name for name in names if name != "0"] == ["sft-more", "sft", "rl-short", "rl-long"]
    scores = finished.metrics
    high = [scores[f"pass@1/{model}/long"] for model in ("sft", "rl-short", "rl-long")]
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    assert [(168 - y) / 138 for y in heights] == pytest.approx(high, abs=0.001)


def test_table_fits_a_terminal(finished):
    render(finished)
    table = (finished.out / "table.md").read_text()
    lines = table.splitlines()
    assert max(map(len, lines)) <= 100
    blocks = [block.splitlines() for block in table.split("\n\n")]
    assert [len(block) for block in blocks] == [8, 8, 8, 2]
    assert all(len({len(line) for line in block}) == 1 for block in blocks[:3])
    assert blocks[3][0].startswith("rl-long minus sft at long: +")
    assert blocks[3][1].startswith("rl-long minus sft-more at long: +")


def test_no_gain_is_claimed_where_the_start_of_rl_was_not_evaluated(finished):
    only = {"rl-long": finished.cfg.evaluate["rl-long"]}
    finished.cfg = finished.cfg.model_copy(update={"evaluate": only})
    assert "points</strong>" not in render(finished)
    assert "gain" not in finished.metrics


def test_models_scored_on_different_problems_are_not_compared(finished):
    path = finished.dep("outputs") / "evaluate/sft/scores.json"
    scores = json.loads(path.read_text())
    del scores["limits"]["long"]["per_problem"]["gen-000"]
    path.write_text(json.dumps(scores))
    with pytest.raises(UserError, match="different problems"):
        report.run(finished)


@pytest.mark.parametrize(("text", "cause"), [(None, "No such file"), ("{", "Expecting")])
def test_a_bad_score_file_is_named(finished, text, cause):
    path = finished.dep("outputs") / "evaluate/sft/scores.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=rf"sft/scores.json cannot be read as JSON .*{cause}.*dvc repro"):
        report.run(finished)


def test_visible_text():
    assert visible("a\tb\nc\u00a0d") == "a    b\nc d"
    assert visible("\x00\u200b\ud800") == "\\x00\\u200b\\ud800"
    assert visible("x" * 12, limit=10) == "x" * 10 + "\n… 2 more characters"
