"""A picture says what it shows, so that one which is older than the results is found."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from benchmarks.face.pictures import DOCS, older, recorded, save, shown


def test_a_picture_keeps_what_it_shows(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(png, "PNG")
    save(png.getvalue(), tmp_path / "a.png", {"scores": {"pass@1/rl-long/long": 0.65}})
    assert shown(tmp_path / "a.png") == {"scores": {"pass@1/rl-long/long": 0.65}}
    assert older(shown(tmp_path / "a.png"), {"pass@1/rl-long/long": 0.675}) == ["pass@1/rl-long/long: 0.65, not 0.675"]
    (tmp_path / "b.png").write_bytes(png.getvalue())
    assert shown(tmp_path / "b.png") == {}
    assert older({}, {"pass@1/rl-long/long": 0.675})


def test_the_report_s_picture_shows_the_results_as_recorded() -> None:
    results, made = recorded("tiny", 0), shown(DOCS / "report.png")
    assert results["pass@1/rl-long/long"] > 0
    assert (made.get("experiment"), made.get("seed")) == ("tiny", 0)
    assert older(made, results) == []
