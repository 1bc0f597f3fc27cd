"""Our view of DVC's internals: templates, foreach, order, digests equal to those that DVC writes."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reforge.errors import UserError
from reforge.lineage import graph
from reforge.retrace.chain import explain, maker

pytestmark = pytest.mark.usefixtures("project")


def test_a_stage_is_what_dvc_yaml_says_after_foreach_and_templates() -> None:
    assert graph.stage_spec("rl@32k") == graph.StageSpec(
        name="rl@32k",
        cmd="python fake.py rl@32k",
        deps=("outputs/rl/16k/model",),
        out="outputs/rl/32k",
        params=("seed", "rl.rungs.32k"),
        metrics="metrics/rl/32k.json",
    )


def test_upstream_first_and_by_what_is_read() -> None:
    """`sft` is written last in dvc.yaml, and rl@16k reads it."""
    assert graph.graph() == {
        "curate": [],
        "base": ["curate"],
        "sft": ["base"],
        "rl@16k": ["sft"],
        "rl@32k": ["rl@16k"],
    }
    assert list(graph.graph()) == ["curate", "base", "sft", "rl@16k", "rl@32k"] == list(graph.stages())


def test_the_graph_follows_the_params() -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("init: rl/16k", "init: sft"))
    assert graph.graph()["rl@32k"] == ["sft"]


def test_digests_are_those_of_dvc_lock(project: Path) -> None:
    (project / "lib" / "__pycache__").mkdir()
    subprocess.run(["dvc", "repro", "-q", "-s", "curate"], check=True)
    lock = graph.locked("curate")
    known = {entry["path"]: entry["md5"] for entry in lock["deps"] + lock["outs"]}
    assert graph.digests(known) == known
    assert set(known) == {"raw.txt", "lib", "outputs/curate", "metrics/curate.json"}
    assert graph.lock_hash() == hashlib.sha256(Path("dvc.lock").read_bytes()).hexdigest()


def test_before_the_first_run_there_is_no_lock() -> None:
    assert graph.locked("curate") == {}
    assert graph.lock_hash() == ""


def test_a_graph_that_dvc_cannot_read_is_one_paragraph() -> None:
    Path("dvc.yaml").write_text("stages:\n  a:\n    foreach: ${nokey}\n    do: {cmd: x}\n")
    with pytest.raises(UserError, match=r"DVC cannot read the graph of .*nokey") as caught:
        graph.graph()
    assert "\n" not in str(caught.value)


def test_a_stage_with_two_outputs_is_refused() -> None:
    text = Path("dvc.yaml").read_text()
    Path("dvc.yaml").write_text(text.replace("outs: [outputs/curate]", "outs: [outputs/curate, outputs/more]"))
    with pytest.raises(UserError, match="'curate' needs exactly one `outs` folder"):
        graph.stages()


def test_without_params_the_way_to_write_them_is_named() -> None:
    Path("params.yaml").unlink()
    with pytest.raises(UserError, match="Write it with: reforge compose"):
        graph.graph()


def test_why_leads_from_a_result_to_the_problems(run_stages: Callable[..., None]) -> None:
    run_stages("curate", "base", "sft", "rl@16k")
    assert maker("outputs/rl/16k/model/weights", graph.stages()) == "rl@16k"
    assert maker("README.md", graph.stages()) == ""
    lines = explain("rl@16k")
    heads = [line for line in lines if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in heads] == ["rl@16k", "sft", "base", "curate"]
    digests = {path: graph.digests([path])[path] for path in ("outputs/rl/16k", "outputs/sft/model")}
    assert f"md5 {digests['outputs/rl/16k']}  MLflow run " in heads[0]
    assert f"    from outputs/sft/model  md5 {digests['outputs/sft/model']}" in lines
    with pytest.raises(UserError, match=r"rl@32k has not run here.*dvc repro rl@32k"):
        explain("rl@32k")


def test_why_does_not_credit_a_run_that_made_something_else(run_stages: Callable[..., None]) -> None:
    """The planted defect: the output in dvc.lock is not the one of this workspace's last run."""
    run_stages("curate")
    text = Path("dvc.lock").read_text()
    made = graph.digests(["outputs/curate"])["outputs/curate"]
    Path("dvc.lock").write_text(text.replace(made, f"{'0' * 32}.dir"))
    assert "made elsewhere" in explain("curate")[0]
