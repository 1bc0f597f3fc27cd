"""Draw the timeline of a reinforcement-learning stage: what each part was busy with, and, as text, who waited.

It is a page of its own, not part of the report: what DVC versions holds nothing that depends on a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from reforge.tracking.timeline import Span

WIDTH, LEFT, LANE, SHOWN = 1000.0, 110.0, 22.0, 6
COLOURS = {
    "train": "#1f5fa8", "publish": "#7a4fa3", "save": "#b8a6cf", "wait": "#e4e7eb", "load weights": "#7a4fa3",
    "sample": "#2f855a", "grade": "#c05621",
}  # fmt: skip
_RED = "#c53030"
_SLACK = 0.1  # a part that waits for a smaller share of the time is busy

Shares = Mapping[str, Mapping[str, float]]  # lane → what it did → share of the time


def shares(spans: Sequence[Span]) -> dict[str, dict[str, float]]:
    """Return what each lane did, as shares of the time from the first span's start to the last one's end."""
    if not spans:
        return {}
    whole = max(span.end for span in spans) - min(span.start for span in spans)
    found: dict[str, dict[str, float]] = {}
    for span in spans:
        if span.is_moment:
            continue
        lane = found.setdefault(span.lane, {})
        lane[span.name] = lane.get(span.name, 0.0) + (span.end - span.start) / whole if whole else 0.0
    return {lane: found[lane] for lane in sorted(found)}


def bottleneck(parts: Shares) -> str:
    """Return a sentence that says which part waits for which, and what to change."""
    learner, sampler = parts.get("learner", {}).get("wait", 0.0), parts.get("sampler", {}).get("wait", 0.0)
    if learner >= _SLACK and sampler >= _SLACK:
        return (
            f"the learner waits {learner:.0%} of the time for rollouts and the sampler {sampler:.0%} for new weights: "
            "they take turns, or the grading of the last rollouts takes long. Raise rl.*.staleness."
        )
    if learner >= _SLACK:
        return (
            f"the learner waits {learner:.0%} of the time for rollouts, the sampler hardly ever: add samplers "
            "(sampler.replicas, sampler.threads), or take from the learner."
        )
    if sampler >= _SLACK:
        return (
            f"the sampler waits {sampler:.0%} of the time for new weights, the learner hardly ever for rollouts: give "
            "the learner more (learner.ranks, learner.threads), or take from the sampler."
        )
    return f"learner and sampler are both busy (they wait {learner:.0%} and {sampler:.0%} of the time)."


def render_timeline(title: str, spans: Sequence[Span]) -> str:
    """Return an HTML page without scripts or outside resources."""
    parts = shares(spans)
    done = {lane: ", ".join(f"{name} {share:.0%}" for name, share in of.items()) for lane, of in parts.items()}
    words = bottleneck(parts)
    rows = "".join(f"<tr><th>{escape(lane)}</th><td>{escape(said)}</td></tr>" for lane, said in done.items())
    legend = " ".join(f'<span style="color:{colour}">■</span> {name}' for name, colour in COLOURS.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}: timeline</title><style>"
        "body{font:14px system-ui,sans-serif;margin:2rem auto;padding:0 1rem;max-width:1000px;color:#1f2933;"
        "overflow-wrap:anywhere}th{text-align:left;padding-right:1em;white-space:nowrap}"
        ".scroll{overflow-x:auto}svg{width:100%;min-width:640px}</style>"
        f"<h1>{escape(title)}</h1><p>{escape(words[:1].upper() + words[1:])}</p>"
        f"<p>{legend}</p>{_svg(spans)}{_events(spans)}<h2>Share of the time</h2>"
        f'<div class="scroll"><table>{rows}</table></div>'
        "<p>The same in full: timeline.json beside this page, for https://ui.perfetto.dev.</p></html>"
    )


def _events(spans: Sequence[Span]) -> Markup:
    """Return a paragraph that lists what the whole run recovered from; empty where there was nothing."""
    counts = Counter(f"{span.lane} {span.name}" for span in spans if span.is_moment)
    words = ", ".join(f"{what} ({number} times)" if number > 1 else what for what, number in counts.items())
    return Markup("<p>Recovered from: {}</p>").format(words) if words else Markup("")


def _svg(spans: Sequence[Span]) -> Markup:
    """Draw the spans of a few steps in the middle of the run."""
    steps = sorted({span.step for span in spans if span.lane == "learner"})
    middle = steps[max(0, len(steps) // 2 - SHOWN // 2) :][:SHOWN]
    shown = [span for span in spans if span.lane == "learner" and span.step in middle]
    if not shown:
        return Markup("")
    start, end = min(span.start for span in shown), max(span.end for span in shown)
    lanes = sorted({span.lane for span in spans})
    scale = (WIDTH - LEFT) / max(end - start, 1e-9)
    bars = []
    for number, lane in enumerate(lanes):
        y = number * LANE
        bars.append(f'<text x="0" y="{y + 15:.0f}" font-size="12">{escape(lane)}</text>')
        for span in spans:
            if span.lane == lane and span.end > start and span.start < end:
                x = LEFT + (max(span.start, start) - start) * scale
                width = max(3.0 if span.is_moment else 0.5, (min(span.end, end) - max(span.start, start)) * scale)
                label = f"{span.name}, step {span.step}: {span.end - span.start:.2f} s"
                colour = _RED if span.is_moment else COLOURS.get(span.name, "#9aa5b1")
                bars.append(
                    f'<rect x="{x:.1f}" y="{y + 3:.0f}" width="{width:.1f}" height="{LANE - 6:.0f}" '
                    f'fill="{colour}"><title>{escape(label)}</title></rect>'
                )
    height = len(lanes) * LANE + 20
    below = f"steps {middle[0]} to {middle[-1]}, {end - start:.1f} s"
    bars.append(f'<text x="{LEFT:.0f}" y="{height - 4:.0f}" font-size="12">{below}</text>')
    return Markup(
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img">{"".join(bars)}</svg></div>'
    )
