"""MLflow's own pages, in a browser: what `reforge ui` names opens among the training runs, and two of them compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.face.browser import browser, find_browser
from benchmarks.face.pictures import compare, mlflow_pages, open_runs, parents
from tests.unit.tracking.test_parents import pipeline


@pytest.mark.skipif(not find_browser(), reason="no Chromium here (apt install chromium)")
def test_two_pipelines_of_a_folder_that_was_moved_compare_in_the_training_view(project: Path, tmp_path: Path) -> None:
    pipeline(tmp_path, "p1", (0.25, 0.5))
    pipeline(tmp_path, "p2", (0.75, 0.5))
    moved = project.rename(tmp_path / "moved")
    runs = parents(moved / "mlflow.db")
    assert len(runs) == 2
    with mlflow_pages(moved) as url, browser() as page:
        open_runs(page, url, runs)
        assert "Observability" not in page.text()  # of the pages for prompts and agents
        assert "Model registry" in page.text()
        compare(page, url, runs)
        text = page.text()
        for shown in (
            "rl.short.learning_rate", "0.0001", "0.0002", "pass_at_1/rl-short/short", "gain/value", "R0, recorded",
        ):  # fmt: skip
            assert shown in text
        assert (
            "seed\t" not in text.partition("Parameters")[2].partition("Metrics")[0]
        )  # equal, so not among what differs
        page.open(f"{url.partition('#')[0]}?m#/models/reforge-tiny", 1400, 900)
        page.wait_for("document.body.innerText.includes('champion')", 300)
