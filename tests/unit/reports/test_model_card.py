import json

from huggingface_hub import ModelCard

from reforge.reports.inputs import digest
from reforge.stages import report


def test_a_hub_reads_the_scores_and_a_reader_the_levels(finished):
    """Read back by the hub's own library; rl-long is what the report is about."""
    report.run(finished)
    card = ModelCard((finished.out / "model-card.md").read_text(encoding="utf-8"))
    scores = json.loads((finished.dep("outputs") / "evaluate/rl-long/scores.json").read_text())["limits"]
    assert [result.metric_value for result in card.data.eval_results] == [
        round(scores[length]["pass@1"]["value"], 4) for length in ("short", "long", "longest")
    ]
    assert card.data.model_name == f"{finished.cfg.experiment}-rl-long"
    weights = finished.dep("outputs") / "rl/long"
    assert f"| `{weights}` | `{digest(weights)}` | not verified yet |" in card.text
    assert "| long | 96 tokens | 40 |" in card.text


def test_what_was_verified_is_said_and_what_is_another_since_is_not(finished):
    weights = finished.dep("outputs") / "rl/long"
    known = finished.dep("verified.json")
    for value, told in ((digest(weights), "R3, bit-exact"), ("another", "not verified yet")):
        known.write_text(json.dumps({"outputs": {str(weights): value}}))
        report.run(finished)
        assert f"`{digest(weights)}` | {told}" in (finished.out / "model-card.md").read_text(encoding="utf-8")
