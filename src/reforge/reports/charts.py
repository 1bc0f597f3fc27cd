"""Charts as inline SVG: text stays text, nothing is fetched, equal numbers give equal bytes. Coordinates are in CSS
pixels of a 360-pixel-wide drawing, so a phone shows them at their own size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from reforge.reports.records import RungCurve

WIDTH = 360.0
INK, MUTED, GRID, RAW, ACCENT = "#1f2933", "#616e7c", "#e4e7eb", "#b8cbe0", "#1f5fa8"
SHADES = ("#9dbfe3", "#3f7fc4", "#143f73")  # from the shortest limit to the longest
WINDOW = 5  # steps in the trailing mean


def line_chart(key: str, title: str, curves: Sequence[RungCurve], is_share: bool) -> Markup:
    """Draw one metric over the steps of all rungs in a row: pale per step, bold as a trailing mean within its rung."""
    runs, offset, bounds = [], 0, []
    for curve in curves:
        values = [(offset + i + 1, step.get(key)) for i, step in enumerate(curve.steps)]
        runs.append([(x, float(y)) for x, y in values if y is not None and math.isfinite(y)])
        bounds.append((offset, offset + len(curve.steps), curve))
        offset += len(curve.steps)
    found = max([y for run in runs for _, y in run] or [1.0])
    highest = max(1.0, found) if is_share else found  # a user's own reward may be more than 1
    if key == "length/mean":
        highest = max([highest, *(curve.max_tokens for curve in curves)])
    ticks = _ticks(highest)
    frame = _Frame(left=38, top=30, right=WIDTH - 8, bottom=168, x_max=max(offset, 1), y_max=ticks[-1])
    parts = [_text(0, 14, title, size=13, weight=600)]
    for tick in ticks:
        y = frame.y(tick)
        label = f"{tick:.0%}" if is_share else f"{tick:g}"
        parts += [_line(frame.left, y, frame.right, y, GRID), _text(frame.left - 6, y + 4, label, anchor="end")]
    for start, end, curve in bounds:
        parts += _rung(frame, start, end, curve, limit=key == "length/mean")
    for run in runs:
        parts += [_path(frame, run, RAW, 1.0), _path(frame, _smooth(run), ACCENT, 2.2)]
    parts += [_text(frame.left, 198, "step 0"), _text(frame.right, 198, f"{offset}", anchor="end")]
    return _svg(206, title, parts)


def dot_chart(scores: Mapping[str, Mapping[str, Any]], limits: Mapping[str, int]) -> Markup:
    """Draw pass@1 of every model at every limit, with its interval."""
    row, left, top = 15.0, 76.0, 34.0
    parts, y = [], top
    x = _Frame(left, 0, WIDTH - 14, 0, x_max=1, y_max=1).x
    bottom = top + len(scores) * (len(limits) * row + 10)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts += [_line(x(tick), top - 8, x(tick), bottom - 4, GRID)]
        parts += [_text(x(tick), bottom + 10, f"{100 * tick:g}", anchor="middle")]
    for place, name in enumerate(limits):
        at = left + place * 62
        parts += [_dot(at + 4, 10, _shade(place, len(limits))), _text(at + 13, 14, name)]
    for model, score in scores.items():
        middle = y + (len(limits) - 1) * row / 2
        parts.append(_text(left - 12, middle + 4, model, size=12, anchor="end", fill=INK))
        for place, name in enumerate(limits):
            estimate, colour = score["limits"][name]["pass@1"], _shade(place, len(limits))
            parts.append(_line(x(estimate["low"]), y, x(estimate["high"]), y, colour, 2.0))
            parts.append(_dot(x(estimate["value"]), y, colour))
            y += row
        y += 10
    return _svg(bottom + 16, "pass@1 in percent, with intervals", parts)


def climb_chart(
    models: Sequence[tuple[str, float]],
    controls: Sequence[str],
    estimates: Mapping[str, Mapping[str, float]],
    limit: str,
) -> Markup:
    """Draw pass@1 of the models on the way of RL over the tokens sampled to get there, each with its interval, and as a
    dashed rule that of each control, which was made without RL."""
    most = max([tokens for _, tokens in models] or [0.0])
    frame = _Frame(left=38, top=30, right=WIDTH - 14, bottom=168, x_max=max(most, 1.0), y_max=1.0)
    parts = [_text(0, 14, f"pass@1 at {limit} over tokens sampled", size=13, weight=600)]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = frame.y(tick)
        parts += [_line(frame.left, y, frame.right, y, GRID), _text(frame.left - 6, y + 4, f"{tick:.0%}", anchor="end")]
    for name in controls:
        y = frame.y(estimates[name]["value"])
        parts.append(_line(frame.left, y, frame.right, y, MUTED, 1.5, "4 3"))
        parts.append(_text(frame.right, y + 13, name, anchor="end"))
    run = [(tokens, estimates[name]["value"]) for name, tokens in models]
    parts.append(_path(frame, run, ACCENT, 2.2))
    for name, tokens in models:
        x, estimate = frame.x(tokens), estimates[name]
        parts.append(_line(x, frame.y(estimate["low"]), x, frame.y(estimate["high"]), ACCENT, 2.0))
        parts.append(_dot(x, frame.y(estimate["value"]), ACCENT))
        parts.append(_text(x, frame.y(estimate["high"]) - 6, name, anchor="end" if tokens else "start", fill=INK))
    parts += [_text(frame.left, 186, "0"), _text(frame.right, 186, f"{most:,.0f} tokens", anchor="end")]
    return _svg(194, "pass@1 over tokens sampled", parts)


class _Frame:
    """The mapping from data to pixels."""

    def __init__(self, left: float, top: float, right: float, bottom: float, x_max: float, y_max: float) -> None:
        self.left, self.top, self.right, self.bottom = left, top, right, bottom
        self._x, self._y = (right - left) / x_max, (bottom - top) / y_max

    def x(self, value: float) -> float:
        return self.left + value * self._x

    def y(self, value: float) -> float:
        return self.bottom - value * self._y


def _rung(frame: _Frame, start: int, end: int, curve: RungCurve, limit: bool) -> list[Markup]:
    """Draw the rung's name under the axis, a rule where it takes over, and its limit where lengths are drawn."""
    parts = [_text(frame.x((start + end) / 2), frame.bottom + 15, curve.name, anchor="middle", fill=INK)]
    if start:
        parts.append(_line(frame.x(start), frame.top - 6, frame.x(start), frame.bottom + 18, MUTED, 1.0, "4 3"))
    if limit:
        y = frame.y(curve.max_tokens)
        parts.append(_line(frame.x(start), y, frame.x(end), y, MUTED, 1.0, "2 3"))
        parts.append(_text(frame.x(start) + 4, y - 4, f"limit {curve.max_tokens}"))
    return parts


def _smooth(run: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    windows = [[y for _, y in run[max(0, i + 1 - WINDOW) : i + 1]] for i in range(len(run))]
    return [(x, math.fsum(window) / len(window)) for (x, _), window in zip(run, windows, strict=True)]


def _ticks(highest: float) -> list[float]:
    """Return four or five round ticks from zero up to at least `highest`."""
    raw = max(highest, 1e-9) / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * (1 - 1e-9))
    return [i * step for i in range(math.ceil(highest / step * (1 - 1e-9)) + 1)]


def _shade(place: int, count: int) -> str:
    return SHADES[round(place * (len(SHADES) - 1) / max(count - 1, 1))]


def _svg(height: float, label: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">\n').format(_n(WIDTH), _n(height), label)
    return head + Markup("\n").join(parts) + Markup("\n</svg>")


def _text(
    x: float, y: float, text: str, *, size: int = 11, weight: int = 400, anchor: str = "start", fill: str = MUTED
) -> Markup:
    return Markup('<text x="{}" y="{}" font-size="{}" font-weight="{}" text-anchor="{}" fill="{}">{}</text>').format(
        _n(x), _n(y), size, weight, anchor, fill, escape(text)
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, dash: str = "none") -> Markup:
    return Markup('<path d="M{} {}L{} {}" stroke="{}" stroke-width="{}" stroke-dasharray="{}"/>').format(
        _n(x1), _n(y1), _n(x2), _n(y2), colour, _n(width), dash
    )


def _dot(x: float, y: float, colour: str) -> Markup:
    return Markup('<circle cx="{}" cy="{}" r="4" fill="{}"/>').format(_n(x), _n(y), colour)


def _path(frame: _Frame, run: Sequence[tuple[float, float]], colour: str, width: float) -> Markup:
    if not run:
        return Markup("")
    way = "L".join(f"{_n(frame.x(x))} {_n(frame.y(y))}" for x, y in run)
    return Markup('<path d="M{}" fill="none" stroke="{}" stroke-width="{}" stroke-linejoin="round"/>').format(
        way, colour, _n(width)
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
