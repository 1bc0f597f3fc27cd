"""Our view of DVC's internals: templates, foreach, order, digests equal to those that DVC writes."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reforge.errors import UserError
from reforge.lineage import graph
from reforge.retrace.why import explain, maker

pytestmark = pytest.mark.usefixtures("project")


def test_a_stage_is_what_dvc_yaml_says_after_foreach_and_templates() -> None:
    assert graph.stage_spec("rl@long") == graph.StageSpec(
        name="rl@long",
        cmd="python fake.py rl@long",
        deps=("outputs/rl/short/model", "outputs/curate/problems/data"),
        out="outputs/rl/long",
        params=("seed", "rl.long"),
        metrics="metrics/rl/long.json",
        needs="cpu",
    )


def test_the_class_of_machine_is_that_of_dvc_yaml() -> None:
    text = Path("dvc.yaml").read_text()
    assert graph.stage_spec("rl@long").needs == "cpu"
    last = '      metrics: ["metrics/rl/${key}.json"]\n'
    Path("dvc.yaml").write_text(text.replace(last, f"{last}      meta: {{needs: gpu}}\n"))
    assert {name: spec.needs for name, spec in graph.stages().items() if spec.needs != "cpu"} == {
        "rl@short": "gpu",
        "rl@long": "gpu",
    }


def test_upstream_first_and_by_what_is_read() -> None:
    """`sft` is written last in dvc.yaml, and rl@short reads what sft@cold makes."""
    assert graph.graph() == {
        "curate@problems": [],
        "base@policy": ["curate@problems"],
        "sft@cold": ["base@policy", "curate@problems"],
        "rl@short": ["curate@problems", "sft@cold"],
        "rl@long": ["curate@problems", "rl@short"],
    }
    named = ["curate@problems", "base@policy", "sft@cold", "rl@short", "rl@long"]
    assert list(graph.graph()) == named == list(graph.stages())


def test_the_graph_follows_the_params() -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("init: rl/short", "init: sft/cold"))
    assert graph.graph()["rl@long"] == ["curate@problems", "sft@cold"]


def test_digests_are_those_of_dvc_lock(project: Path) -> None:
    (project / "lib" / "__pycache__").mkdir()
    subprocess.run(["dvc", "repro", "-q", "-s", "curate@problems"], check=True)
    lock = graph.locked("curate@problems")
    known = {entry["path"]: entry["md5"] for entry in lock["deps"] + lock["outs"]}
    assert graph.digests(known) == known
    assert set(known) == {"raw.txt", "lib", "outputs/curate/problems", "metrics/curate/problems.json"}
    assert graph.lock_hash() == hashlib.sha256(Path("dvc.lock").read_bytes()).hexdigest()


def test_before_the_first_run_there_is_no_lock() -> None:
    assert graph.locked("curate@problems") == {}
    assert graph.lock_hash() == ""


def test_a_graph_that_dvc_cannot_read_is_one_paragraph() -> None:
    Path("dvc.yaml").write_text("stages:\n  a:\n    foreach: ${nokey}\n    do: {cmd: x}\n")
    with pytest.raises(UserError, match=r"DVC cannot read the graph of .*nokey") as caught:
        graph.graph()
    assert "\n" not in str(caught.value)


def test_a_stage_with_two_outputs_is_refused() -> None:
    text = Path("dvc.yaml").read_text()
    Path("dvc.yaml").write_text(text.replace('["outputs/curate/${key}"]', '["outputs/curate/${key}", outputs/more]'))
    with pytest.raises(UserError, match="'curate@problems' needs exactly one `outs` folder"):
        graph.stages()


def test_without_params_the_way_to_write_them_is_named() -> None:
    Path("params.yaml").unlink()
    with pytest.raises(UserError, match="Write it with: reforge compose"):
        graph.graph()


def test_why_leads_from_a_result_to_the_problems(run_stages: Callable[..., None]) -> None:
    run_stages("curate@problems", "base@policy", "sft@cold", "rl@short")
    assert maker("outputs/rl/short/model/weights", graph.stages()) == "rl@short"
    assert maker("README.md", graph.stages()) == ""
    lines = explain("rl@short")
    heads = [line for line in lines if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in heads] == ["rl@short", "sft@cold", "base@policy", "curate@problems"]
    digests = {path: graph.digests([path])[path] for path in ("outputs/rl/short", "outputs/sft/cold/model")}
    assert f"md5 {digests['outputs/rl/short']}  MLflow run " in heads[0]
    assert f"    from outputs/sft/cold/model  md5 {digests['outputs/sft/cold/model']}" in lines
    with pytest.raises(UserError, match=r"rl@long has not run here.*dvc repro rl@long"):
        explain("rl@long")


def test_why_does_not_credit_a_run_that_made_something_else(run_stages: Callable[..., None]) -> None:
    """The planted defect: the output in dvc.lock is not the one of this workspace's last run."""
    run_stages("curate@problems")
    text = Path("dvc.lock").read_text()
    made = graph.digests(["outputs/curate/problems"])["outputs/curate/problems"]
    Path("dvc.lock").write_text(text.replace(made, f"{'0' * 32}.dir"))
    assert "made elsewhere" in explain("curate@problems")[0]
