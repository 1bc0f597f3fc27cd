"""The pictures of the documentation, made from finished runs: `python -m benchmarks.face.pictures [PROJECT]`.

docs/report.png is the report of PROJECT (a folder in which `make demo` has ended; here by default), docs/mlflow.png two
or more of its pipelines compared in MLflow's pages. Each holds what it shows as text (`shown`), so that a test can tell
whether it is older than the results.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.face.browser import Page, browser
from benchmarks.record import RESULTS, ROOT
from reforge.machine.process import free_port

DOCS = ROOT / "docs"
_KEY = "reforge"


def main(project: Path) -> None:
    with browser() as page:
        page.open((project / "report" / "report.html").as_uri(), 1200, 1900)
        save(page.screenshot(), DOCS / "report.png", scores_of(project))
        runs = parents(project / "mlflow.db")
        if len(runs) < 2:
            print(f"{project} has one pipeline, so there is nothing to compare: docs/mlflow.png stays as it is.")
            return
        with mlflow_pages(project) as url:
            compare(page, url, runs)
            save(page.screenshot(), DOCS / "mlflow.png", {"runs": [run["name"] for run in runs]})


def scores_of(project: Path) -> dict[str, Any]:
    """Return what the report's picture shows: pass@1 of each model at each limit."""
    headline = json.loads((project / "metrics" / "report.json").read_text())
    values = {key: value for key, value in headline.items() if key.startswith("pass@1/")}
    title = (project / "report" / "report.html").read_text(encoding="utf-8").split("<title>")[1].split("</title>")[0]
    _, experiment, seed = title.split(" · ")
    return {"experiment": experiment, "seed": int(seed.removeprefix("seed ")), "scores": values}


def save(png: bytes, path: Path, shown: Mapping[str, Any]) -> None:
    text = PngInfo()
    text.add_text(_KEY, json.dumps(shown, sort_keys=True))
    Image.open(io.BytesIO(png)).convert("P", palette=Image.Palette.ADAPTIVE).save(path, pnginfo=text, optimize=True)
    print(path)


def shown(path: Path) -> dict[str, Any]:
    """Return what a picture says that it shows; empty for one that says nothing."""
    return dict(json.loads(Image.open(path).info.get(_KEY, "{}")))


def recorded(experiment: str, seed: int) -> dict[str, float]:
    """Return the same scores from the newest run of the road that changes no values but these two."""
    runs = json.loads((RESULTS / "road.json").read_text())["runs"]
    alike = [run for run in runs if run["overrides"] == [f"experiment={experiment}", f"seed={seed}"]]
    return {
        f"pass@1/{model}/{name}": values["pass@1"]["value"]
        for model, scores in (alike[-1]["scores"] if alike else {}).items()
        for name, values in scores["limits"].items()
    }


def older(picture: Mapping[str, Any], results: Mapping[str, float]) -> list[str]:
    """Return the scores that the report's picture lacks or shows differently from the results."""
    scores = picture.get("scores", {})
    return [f"{key}: {scores.get(key)}, not {value}" for key, value in results.items() if scores.get(key) != value]


def parents(database: Path) -> list[dict[str, str]]:
    """Return the newest two finished pipelines of the first experiment that has any, as MLflow knows them."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{database.resolve()}")
    for experiment in client.search_experiments():
        order = ["attributes.start_time DESC"]
        found = client.search_runs([experiment.experiment_id], "tags.`reforge.stage` = 'pipeline'", order_by=order)
        scored = [run for run in found if any(key.startswith("pass_at_1/") for key in run.data.metrics)]
        if scored:
            known = {"experiment": experiment.experiment_id}
            return [{**known, "id": run.info.run_id, "name": run.info.run_name} for run in scored[:2]]
    return []


@contextmanager
def mlflow_pages(project: Path) -> Iterator[str]:
    """Run `reforge ui` of a project, and yield the address that it names."""
    port = free_port()
    command = [sys.executable, "-m", "reforge.cli.main", "ui", "--port", str(port)]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()  # Open ADDRESS …
        _wait(f"http://127.0.0.1:{port}", process)
        yield words[1]
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"`reforge ui` did not come up (exit code {process.poll()})")


def open_runs(page: Page, url: str, runs: Sequence[Mapping[str, str]]) -> None:
    """Open the address as a user does, without the assistant's panel."""
    page.open(f"{url.partition('#')[0]}health", 1400, 1100)
    for key, value in (("autoOpenedOnFirstLoad", "true"), ("panelOpen", "false")):
        page.evaluate(f"localStorage['mlflow.assistant.{key}_v1'] = '{value}'")
    page.open(url, 1400, 1100)
    _wait_for_names(page, runs)


def compare(page: Page, url: str, runs: Sequence[Mapping[str, str]]) -> None:
    """Open MLflow's own comparison of these runs: the parameters that differ, and the metrics."""
    open_runs(page, url, runs)
    ids, experiments = json.dumps([run["id"] for run in runs]), json.dumps([runs[0]["experiment"]])
    where = f"#/compare-runs?runs={ids}&experiments={experiments}&workflowType=machine_learning"
    page.evaluate(f"location.hash = {json.dumps(where)}")
    page.wait_for("document.body.innerText.includes('Comparing ')", 300)
    _wait_for_names(page, runs)
    page.wait_for("document.querySelectorAll('[role=switch]').length > 0")
    page.evaluate(
        "document.querySelector('[role=switch]').click();"
        "[...document.querySelectorAll('[role=button]')].find(e => e.innerText.includes('Visualizations'))?.click()"
    )
    time.sleep(2)  # what unfolds and folds is animated


def _wait_for_names(page: Page, runs: Sequence[Mapping[str, str]]) -> None:
    for run in runs:
        page.wait_for(f"document.body.innerText.includes({json.dumps(run['name'])})", 300)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
