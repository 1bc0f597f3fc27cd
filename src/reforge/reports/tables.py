"""Numbers as text, and the tables that the HTML report and the terminal share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Scores = Mapping[str, Mapping[str, Any]]
MINUS = "\N{MINUS SIGN}"


def percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def share(rate: float) -> str:
    return f"{100 * rate:.1f} %"


def interval(estimate: Mapping[str, float | None]) -> str:
    return f"{percent(estimate['low'])} – {percent(estimate['high'])}"


def points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def text_tables(scores: Scores, limits: Mapping[str, int], confidence: float) -> str:
    """Return a table per limit, with one row per model; 80 columns wide and valid Markdown."""
    blocks = []
    for name, max_tokens in limits.items():
        ks = sorted({k for score in scores.values() for k in score["ks"]} - {1})
        head = [f"{name} ({max_tokens} tokens)", "pass@1", f"{confidence:.0%} interval"]
        head += [f"pass@{k}" for k in ks] + ["truncated", "tokens", "infra"]
        rows = [_text_row(model, score["limits"][name], ks) for model, score in scores.items()]
        blocks.append(_aligned(head, rows))
    return "\n".join(blocks)


def _text_row(model: str, score: Mapping[str, Any], ks: Sequence[int]) -> list[str]:
    return [
        model,
        percent(score["pass@1"]["value"]),
        interval(score["pass@1"]),
        *(percent(score[f"pass@{k}"]["value"]) for k in ks),
        percent(score["truncated"]),
        f"{score['mean_tokens']:.1f}",
        str(score["infra"]),
    ]


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        return "| " + " | ".join(cells) + " |\n"

    rule = "|-" + "-" * widths[0] + "-|" + "".join("-" * (width + 1) + ":|" for width in widths[1:]) + "\n"
    return line(head) + rule + "".join(line(row) for row in rows)


def difficulty_rows(scores: Scores, limit: str) -> list[tuple[str, int, list[float | None]]]:
    """Return (difficulty, problems, pass@1 of each model), easiest first; empty where the problems have no levels."""
    tables = [score["limits"][limit]["by_difficulty"] for score in scores.values()]
    levels = sorted({level for table in tables for level in table}, key=int)
    if len(levels) < 2:
        return []
    return [
        (level, max(table[level]["problems"] for table in tables), [table[level]["pass@1"] for table in tables])
        for level in levels
    ]
