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
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "reforge", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _median(runs: Sequence[Mapping[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)
