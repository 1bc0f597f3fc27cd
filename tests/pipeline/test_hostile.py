"""A rung in which one rollout in three is hostile: it ends, and alike twice; each of them has the verdict it earns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.sandbox.rollouts import NUMBERS, PROGRAMS, counted, driven, right
from reforge.files.tensors import tensor_digests
from reforge.rollouts.refusal import refusal
from reforge.rollouts.store import from_row
from tests.pipeline.projects import run, server_of


def test_one_rollout_in_three_is_hostile(smoke: Path, tmp_path: Path) -> None:
    ends = []
    for name in ("first", "second"):
        project = tmp_path / name
        shutil.copytree(smoke, project, ignore=shutil.ignore_patterns(".runs", ".scratch"), symlinks=True)
        run(["reforge", "compose", "experiment=smoke", server_of(smoke)], project)
        ends.append(rung(project))
    assert ends[0] == ends[1]


def rung(project: Path) -> tuple[dict[str, str], list[str]]:
    """Digests of its weights, and all statuses."""
    out = project / "outputs/rl/short"
    shutil.rmtree(out)
    run(driven("rl@short"), project, PYTHONHASHSEED="0")
    found = counted(out)
    assert [said for said in found if not right(*said.split(": "))] == []
    assert set(PROGRAMS) <= {said.partition(":")[0] for said in found}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["infra"] for line in lines) == 0
    assert sum(line["rollouts/refused"] for line in lines) == sum(found[f"{number}: refused"] for number in NUMBERS) > 0
    rows = [row for file in sorted((out / "rollouts").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    refused = [row for row in rows if refusal(from_row(row)[0])]
    assert all(row["advantage"] is None and row["solved"] is None for row in refused)
    return tensor_digests(out / "model"), [row["status"] for row in rows]
