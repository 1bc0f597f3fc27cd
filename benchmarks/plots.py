"""Plots of committed results. Equal results give equal bytes."""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure


def sweep(result: Mapping[str, Any]) -> str:
    """Return a plot of the result `pipelining` as SVG: what one-off pipelining gains over the ratio of sampling to
    training time."""
    swept = [run for run in result["runs"] if re.fullmatch(r"ratio [\d.]+", run["case"])]
    pairs = [(run["runs"]["0"], run["runs"]["1"]) for run in swept]
    ratios = [_median(zero, "sampling") / _median(zero, "training") for zero, _ in pairs]
    gains = [_median(zero, "step") / _median(one, "step") for zero, one in pairs]
    curve = [2 ** (number / 16) for number in range(-40, 41)]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve, [(1 + r) / max(1, r) for r in curve], color="#b8cbe0", label="in theory: (S + T) / max(S, T)")
    axes.plot(ratios, gains, "o", color="#1f5fa8", label="measured")
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
    axes.set_ylim(0.8, 2.2)
    axes.set_xlabel("sampling time S to training time T")
    axes.set_ylabel("synchronous step to one-off step")
    axes.legend(frameon=False)
    return _svg(figure)


_WAYS = {  # variant → its words, its colour, and its models with the stage whose tokens each of them took more
    "rungs": ("both rungs of RL", "#1f5fa8", {"rl-short": "rl/short", "rl-long": "rl/long"}),
    "expert": (
        "expert iteration", "#c0622d", {f"expert-{number}": f"sample/expert-{number}" for number in (1, 2, 3)},
    ),
}  # fmt: skip


def learning(result: Mapping[str, Any]) -> str:
    """Return a plot of the result `road` as SVG: pass@1 on held-out problems over the tokens sampled to get there,
    means over seeds with a band from the lowest to the highest; dashed, more fine-tuning, which samples nothing."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    newest = {(run["variant"], run["seed"]): run for run in result["runs"]}
    for variant, (words, colour, models) in _WAYS.items():
        runs = [run for (name, _), run in sorted(newest.items()) if name == variant]
        if runs:
            spent = [[0.0, *_cumulative([run["sampled"][stage] / 1e6 for stage in models.values()])] for run in runs]
            scores = [[_score(run, model) for model in ("sft", *models)] for run in runs]
            tokens = [statistics.mean(column) for column in zip(*spent, strict=True)]
            columns = list(zip(*scores, strict=True))
            axes.fill_between(tokens, [*map(min, columns)], [*map(max, columns)], color=colour, alpha=0.15, linewidth=0)
            axes.plot(tokens, [*map(statistics.mean, columns)], "o-", color=colour, label=f"{words}, {_seeds(runs)}")
    more = [_score(run, "sft-more") for (name, _), run in newest.items() if name == "rungs"]  # there is one at least
    axes.axhspan(min(more), max(more), color="#777777", alpha=0.15, linewidth=0)
    axes.axhline(statistics.mean(more), color="#777777", linestyle="--", label="more fine-tuning, same solutions")
    axes.set_xlabel("million tokens sampled since the cold start")
    axes.set_ylabel("pass@1, held-out problems, %")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, loc="upper left")
    return _svg(figure)


def _score(run: Mapping[str, Any], model: str) -> float:
    return 100 * float(run["scores"][model]["limits"]["long"]["pass@1"]["value"])


def _cumulative(values: Sequence[float]) -> list[float]:
    return [sum(values[: number + 1]) for number in range(len(values))]


def _seeds(runs: Sequence[Any]) -> str:
    return f"{len(runs)} seed{'s' * (len(runs) > 1)}"


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "reforge", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _median(runs: Sequence[Mapping[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)
