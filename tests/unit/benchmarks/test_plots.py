"""The learning curves: what is drawn is what was measured."""

from typing import Any

from matplotlib.axes import Axes

from benchmarks.plots import learning


def run(variant: str, seed: int, tokens: dict[str, float], **scores: float) -> dict[str, Any]:
    of = {name.replace("_", "-"): {"limits": {"long": {"pass@1": {"value": value}}}} for name, value in scores.items()}
    return {"variant": variant, "seed": seed, "sampled": tokens, "scores": of}


def test_curves_by_hand(monkeypatch):
    """Two seeds: 1 and 3 million tokens on average after each rung; at the end 60 and 70%, so 65 with a band."""
    drawn: list[tuple[Any, ...]] = []
    real = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda axes, *given, **how: drawn.append(given) or real(axes, *given, **how))
    tokens = ({"rl/short": 1e6, "rl/long": 1e6}, {"rl/short": 1e6, "rl/long": 3e6})
    ends = (0.6, 0.7)
    runs = [
        run("rungs", seed, tokens[seed], sft=0.4, sft_more=0.42, rl_short=0.5, rl_long=ends[seed]) for seed in (0, 1)
    ]
    text = learning({"runs": [run("rungs", 0, tokens[0], sft=0, sft_more=0, rl_short=0, rl_long=0), *runs]})
    assert [[round(value, 6) for value in values] for values in drawn[0][:2]] == [[0, 1, 3], [40, 50, 65]]
    assert "both rungs of RL, 2 seeds" in text
    assert "expert iteration" not in text
    assert text == learning({"runs": runs})
