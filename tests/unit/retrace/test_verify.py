"""`reforge verify` on a small project with the real contract: what is as it was passes, a planted defect is named."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from reforge.errors import UserError
from reforge.lineage import graph
from reforge.lineage.levels import note, verified
from reforge.retrace.chain import explain
from reforge.retrace.verify import verify

SETTLED = '    (ctx.out / "seed").write_text(str(ctx.seed))\n'


def commit(project: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "commit", "-qam", "change"], check=True, cwd=project)


def plant(project: Path, line: str) -> None:
    """Into the stage `curate`."""
    stages = project / "fake.py"
    assert SETTLED in stages.read_text()
    stages.write_text(stages.read_text().replace(SETTLED, SETTLED + f"    {line}\n"))
    commit(project)


def test_stages_that_do_the_same_again_pass_alone_and_all_together(project, run_stages) -> None:
    run_stages("curate", "base")
    assert list(verify(["base"])) == [("base", [])]
    assert verified(project) == graph.digests(["outputs/base"])
    run_stages("sft", "rl@16k", "rl@32k")
    assert dict(verify([])) == {name: [] for name in ("curate", "base", "sft", "rl@16k", "rl@32k")}
    assert verified(project).keys() == {
        "outputs/curate",
        "outputs/base",
        "outputs/sft",
        "outputs/rl/16k",
        "outputs/rl/32k",
    }
    assert explain("base")[1].strip() == "R3, bit-exact: reforge verify has made it again"


def test_what_is_not_a_function_of_the_inputs_is_named(project, run_stages) -> None:
    """An unseeded generator, a clock, the order of a set, a number of the process."""
    plant(project, '(ctx.out / "chance.txt").write_bytes(os.urandom(8))')
    plant(project, '(ctx.out / "clock.jsonl").write_text("{\\"step\\": 4, \\"at\\": %f}" % time.time())')
    plant(project, '(ctx.out / "set.txt").write_text(" ".join({str(number) for number in range(99)}))')
    plant(project, '(ctx.out / "process.json").write_text("{\\"pid\\": %d}" % os.getpid())')
    run_stages("curate")
    note(project, {"outputs/curate": "as it was before", "outputs/base": "another"})
    ((name, wrong),) = verify(["curate"])
    assert name == "curate"
    assert verified(project) == {"outputs/base": "another"}
    said = ["chance.txt: byte 0", "clock.jsonl: step 4: at was ", "process.json: pid was ", "set.txt: byte "]
    assert [line.startswith(f"outputs/curate: {words}") for line, words in zip(wrong, said, strict=False)] == [True] * 4


def test_another_number_of_threads_is_named(project, run_stages, set_threads, monkeypatch) -> None:
    cores, before = len(os.sched_getaffinity(0)), torch.get_num_threads()
    stages = project / "fake.py"
    stages.write_text(stages.read_text().replace("import os, sys", "import torch, os, sys"))
    plant(project, '(ctx.out / "sum.txt").write_text(str(torch.get_num_threads()))')
    set_threads(cores)  # whatever other tests have set in this process
    run_stages("curate")
    set_threads(before)
    assert list(verify(["curate"])) == [("curate", [])]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ((_, wrong),) = verify(["curate"]) if cores > 1 else pytest.skip("one core has one number of threads")
    assert wrong[0].startswith("outputs/curate: sum.txt: byte 0")
    assert any(line.startswith("threads was ") and line.endswith("and is 1") for line in wrong)


def test_a_file_that_no_stage_declares_is_named(project, run_stages, monkeypatch) -> None:
    """Had the audit missed it (as it does what C++ opens), the clean copy would not have it."""
    (project / "notes.txt").write_text("a habit of mine")
    plant(project, '(ctx.out / "x.txt").write_text(Path("notes.txt").read_text())')
    with pytest.raises(UserError, match=r"opened notes\.txt"):
        run_stages("curate")
    with monkeypatch.context() as without:
        without.setattr("reforge.lineage.declared.Audit.check", lambda *_, **__: None)
        run_stages("curate")
    ((_, wrong),) = verify(["curate"])
    assert any("notes.txt" in line for line in wrong)


def test_an_output_that_was_edited_is_named(project, run_stages) -> None:
    run_stages("curate", "base")
    path = project / "outputs" / "base" / "model" / "weights"
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace("base", "BASE"))
    ((_, wrong),) = verify(["base"])
    assert wrong == ["outputs/base was changed after it was made: model/weights: byte 0 (line 1)"]


def test_an_input_that_was_swapped_is_named(project, run_stages) -> None:
    run_stages("curate", "base", "sft")
    path = project / "outputs" / "base" / "model" / "weights"
    path.unlink()
    path.write_text("those of another")
    ((_, wrong),) = verify(["sft"])
    assert wrong[0].startswith("outputs/base/model is not what it ran with")


def test_a_changed_parameter_and_changed_code_are_named(project, run_stages) -> None:
    run_stages("curate", "base", "sft")
    params = project / "params.yaml"
    assert "warmup_steps: 7" in params.read_text()
    params.write_text(params.read_text().replace("warmup_steps: 7", "warmup_steps: 8"))
    ((_, wrong),) = verify(["sft"])
    assert wrong[0].startswith("params.yaml: sft was {")
    (project / "lib" / "code.txt").write_text("two")
    commit(project)
    ((_, wrong),) = verify(["curate"])
    assert wrong[0].startswith("lib is not what it ran with")


def test_what_has_not_run_or_is_no_stage_is_refused(project, run_stages) -> None:
    with pytest.raises(UserError, match=r"curate is not in dvc\.lock"):
        list(verify([]))
    with pytest.raises(UserError, match="no stage 'sfd'"):
        list(verify(["sfd"]))
