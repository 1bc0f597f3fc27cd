"""MLflow's parent of a pipeline holds what compares it with others, and models are registered once."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from reforge.tracking.mlflow_mirror import MlflowMirror, add_cached
from reforge.tracking.tracker import RunInfo
from tests.unit.tracking.runs import LEARNING, children


def of(stage: str, pipeline: str = "p1", name: str = "tiny", **more: object) -> RunInfo:
    values = {"rl.short.learning_rate": "0.0001" if pipeline == "p1" else "0.0002", "seed": "3"}
    evaluated = {"sft": "sft@cold", "rl-short": "rl@short"}
    info = RunInfo("reforge", pipeline, stage, LEARNING, {"reforge.git_sha": "abc"}, name=name, seed=3, values=values)
    return replace(info, evaluated=evaluated, compared_at="short", **more)


def finished(folder: Path, info: RunInfo, metrics: dict[str, float], out: str, level: str = "R1, re-runnable") -> str:
    mirror = MlflowMirror("sqlite:///mlflow.db", info, folder / f"{info.pipeline}-{info.stage}-{out}.json")
    tags = {"reforge.out": out, "reforge.out_path": f"outputs/{info.stage}", "reforge.level": level}
    mirror.close("FINISHED", metrics, tags)
    return mirror.run_id


def pipeline(folder: Path, name: str, scores: tuple[float, float]) -> dict[str, str]:
    made = {
        stage: finished(folder, of(stage, name, model=f"outputs/{stage}/model"), {"loss": 0.5}, f"{name}-{stage}.dir")
        for stage in ("sft@cold", "rl@short")
    }
    read = {"read/in": 9.0, "read/kept": 8.0}
    finished(folder, of("curate@problems", name), read, "c.dir", "R0, recorded: not committed")
    finished(folder, of("curate@others", name), {"read/in": 5.0, "read/kept": 0.0}, "o.dir")
    for model, score in zip(("sft", "rl-short"), scores, strict=True):
        finished(
            folder, of(f"evaluate@{model}", name), {"pass@1/short": score, "truncated/short": 0.25}, f"e-{model}.dir"
        )
    finished(folder, of("report", name), {"gain": 0.125, "gain/low": 0.0, "pass@1/sft/short": scores[0]}, "r.dir")
    return made


def test_a_parent_has_what_compares_it_with_others(client: MlflowClient, tmp_path: Path) -> None:
    pipeline(tmp_path, "p1", (0.25, 0.5))
    experiment = client.get_experiment_by_name("reforge")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    parent = children(client)["pipeline"]
    assert re.fullmatch(r"tiny, seed 3, \d{4}-\d\d-\d\d \d\d:\d\d", parent.info.run_name)
    assert parent.data.params == {"rl.short.learning_rate": "0.0001", "seed": "3"}
    minutes = {key: value for key, value in parent.data.metrics.items() if key.startswith("wall_minutes/")}
    assert minutes.keys() >= {f"wall_minutes/{stage}" for stage in ("all", "sft-cold", "rl-short", "report")}
    assert {key: value for key, value in parent.data.metrics.items() if key not in minutes} == {
        "pass_at_1/sft/short": 0.25,
        "pass_at_1/rl-short/short": 0.5,
        "truncated/sft/short": 0.25,
        "truncated/rl-short/short": 0.25,
        "gain/value": 0.125,
        "gain/low": 0.0,
        "problems/read/in": 9.0,
        "problems/read/kept": 8.0,
        "others/read/in": 5.0,
        "others/read/kept": 0.0,
        "sft-cold/loss": 0.5,
        "rl-short/loss": 0.5,
    }
    assert parent.data.tags["reforge.level"].startswith("R0")  # no better than its weakest stage


def test_models_are_registered_once_with_aliases_and_without_their_weights(
    client: MlflowClient, tmp_path: Path
) -> None:
    made = pipeline(tmp_path, "p1", (0.25, 0.5))
    later = pipeline(tmp_path, "p2", (0.75, 0.5))
    versions = {v.version: v for v in client.search_model_versions("name = 'reforge-tiny'")}
    assert [versions[n].run_id for n in (1, 2, 3, 4)] == [
        made["sft@cold"],
        made["rl@short"],
        later["sft@cold"],
        later["rl@short"],
    ]
    aliases = client.get_registered_model("reforge-tiny").aliases
    assert {alias: versions[int(n)].run_id for alias, n in aliases.items()} == {
        "sft-cold": later["sft@cold"],
        "rl-short": later["rl@short"],
        "champion": later["sft@cold"],
    }
    assert versions[2].tags["reforge.path"] == "outputs/rl@short/model"
    assert versions[2].tags["reforge.out"] == "p1-rl@short.dir"
    model = client.get_logged_model(versions[2].source.removeprefix("models:/"))
    folder = Path("mlartifacts", model.artifact_location.removeprefix("mlflow-artifacts:/"))
    assert {path.name for path in folder.iterdir()} == {"MLmodel", "README.md", "weights.json"}
    assert json.loads((folder / "weights.json").read_text())["dvc_md5"] == "p1-rl@short.dir"
    finished(
        tmp_path, of("sft@cold", "p2", model="outputs/sft/cold/model"), {"loss": 0.5}, "p2-sft@cold.dir"
    )  # told once more
    assert len(client.search_model_versions("name = 'reforge-tiny'")) == 4


def test_a_cached_stage_gives_its_model_the_alias_back(client: MlflowClient, tmp_path: Path) -> None:
    made = pipeline(tmp_path, "p1", (0.25, 0.5))
    finished(tmp_path, of("sft@cold", "p2", model="outputs/sft/cold/model"), {"loss": 0.5}, "other.dir")
    back = of("sft@cold", "p3", model="outputs/sft/cold/model")
    add_cached("sqlite:///mlflow.db", [(replace(back, tags={"reforge.out": "p1-sft@cold.dir"}), {"loss": 0.5})])
    version = client.get_model_version_by_alias("reforge-tiny", "sft-cold")
    assert version.run_id == made["sft@cold"]
    parent = next(run for run in all_runs(client) if run.data.tags["reforge.stage"] == "pipeline" and pipe(run) == "p3")
    assert parent.data.tags["reforge.level"] == "R1, re-runnable"


def all_runs(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([client.get_experiment_by_name("reforge").experiment_id]))


def pipe(run: Run) -> str:
    return run.data.tags["reforge.pipeline"]


def test_nothing_in_the_database_names_the_folder_that_the_project_lies_in(
    client: MlflowClient, project: Path, tmp_path: Path
) -> None:
    """So it may be moved: `reforge ui` serves files and models from wherever it is started."""
    pipeline(tmp_path, "p1", (0.25, 0.5))
    dump = "\n".join(sqlite3.connect(project / "mlflow.db").iterdump())
    inserted = [
        line for line in dump.splitlines() if line.startswith("INSERT") and '"experiments" VALUES(0,' not in line
    ]
    assert [line for line in inserted if str(project) in line] == []
