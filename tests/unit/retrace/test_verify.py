"""`reforge verify` on a small project with the real contract: what is as it was passes, a planted defect is named."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from reforge.errors import UserError
from reforge.lineage import graph
from reforge.lineage.levels import note, verified
from reforge.retrace.verify import verify
from reforge.retrace.why import explain

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
    run_stages("curate@problems", "base@policy")
    assert list(verify(["base@policy"])) == [("base@policy", [])]
    assert verified(project) == graph.digests(["outputs/base/policy"])
    run_stages("sft@cold", "rl@short", "rl@long")
    assert dict(verify([])) == {
        name: [] for name in ("curate@problems", "base@policy", "sft@cold", "rl@short", "rl@long")
    }
    assert verified(project).keys() == {
        "outputs/curate/problems",
        "outputs/base/policy",
        "outputs/sft/cold",
        "outputs/rl/short",
        "outputs/rl/long",
    }
    assert explain("base@policy")[1].strip() == "R3, bit-exact: reforge verify has made it again"


REPORT = """\
  report:
    cmd: python fake.py report
    params: [experiment]
    deps: [outputs]
    outs: [report]
    metrics: [metrics/report.json]
"""


def test_a_stage_that_reads_all_outputs_finds_them_also_where_it_is_verified_alone(project, run_stages) -> None:
    """What is committed under outputs/ is in the clean copy before anything is brought there."""
    (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text() + REPORT)
    stages = project / "fake.py"
    stages.write_text(stages.read_text().replace('"rl": model}', '"rl": model, "report": model}'))
    commit(project)
    run_stages("curate@problems", "base@policy", "sft@cold", "rl@short", "rl@long", "report")
    assert list(verify(["report"])) == [("report", [])]
    assert list(verify(["base@policy", "report"])) == [("base@policy", []), ("report", [])]


def test_what_is_not_a_function_of_the_inputs_is_named(project, run_stages) -> None:
    """An unseeded generator, a clock, the order of a set, a number of the process."""
    plant(project, '(ctx.out / "chance.txt").write_bytes(os.urandom(8))')
    plant(project, '(ctx.out / "clock.jsonl").write_text("{\\"step\\": 4, \\"at\\": %f}" % time.time())')
    plant(project, '(ctx.out / "set.txt").write_text(" ".join({str(number) for number in range(99)}))')
    plant(project, '(ctx.out / "process.json").write_text("{\\"pid\\": %d}" % os.getpid())')
    run_stages("curate@problems")
    note(project, {"outputs/curate/problems": "as it was before", "outputs/base/policy": "another"})
    ((name, wrong),) = verify(["curate@problems"])
    assert name == "curate@problems"
    assert verified(project) == {"outputs/base/policy": "another"}
    said = ["chance.txt: byte 0", "clock.jsonl: step 4: at was ", "process.json: pid was ", "set.txt: byte "]
    assert [line.startswith(f"outputs/curate/problems: {words}") for line, words in zip(wrong, said, strict=False)] == [
        True
    ] * 4


def test_another_number_of_threads_is_named(project, run_stages, set_threads, monkeypatch) -> None:
    cores, before = len(os.sched_getaffinity(0)), torch.get_num_threads()
    stages = project / "fake.py"
    stages.write_text(stages.read_text().replace("import os, sys", "import torch, os, sys"))
    plant(project, '(ctx.out / "sum.txt").write_text(str(torch.get_num_threads()))')
    set_threads(cores)  # whatever other tests have set in this process
    run_stages("curate@problems")
    set_threads(before)
    assert list(verify(["curate@problems"])) == [("curate@problems", [])]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ((_, wrong),) = verify(["curate@problems"]) if cores > 1 else pytest.skip("one core has one number of threads")
    assert wrong[0].startswith("outputs/curate/problems: sum.txt: byte 0")
    assert any(line.startswith("threads was ") and line.endswith("and is 1") for line in wrong)


def test_a_file_that_no_stage_declares_is_named(project, run_stages, monkeypatch) -> None:
    """Had the audit missed it (as it does what C++ opens), the clean copy would not have it."""
    (project / "notes.txt").write_text("a habit of mine")
    plant(project, '(ctx.out / "x.txt").write_text(Path("notes.txt").read_text())')
    with pytest.raises(UserError, match=r"opened notes\.txt"):
        run_stages("curate@problems")
    with monkeypatch.context() as without:
        without.setattr("reforge.lineage.declared.Audit.check", lambda *_, **__: None)
        run_stages("curate@problems")
    ((_, wrong),) = verify(["curate@problems"])
    assert any("notes.txt" in line for line in wrong)


def test_an_output_that_was_edited_is_named(project, run_stages) -> None:
    run_stages("curate@problems", "base@policy")
    path = project / "outputs" / "base" / "policy" / "model" / "weights"
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace("base@", "BASE@"))
    ((_, wrong),) = verify(["base@policy"])
    assert wrong == ["outputs/base/policy was changed after it was made: model/weights: byte 0 (line 1)"]


def test_an_input_that_was_swapped_is_named(project, run_stages) -> None:
    run_stages("curate@problems", "base@policy", "sft@cold")
    path = project / "outputs" / "base" / "policy" / "model" / "weights"
    path.unlink()
    path.write_text("those of another")
    ((_, wrong),) = verify(["sft@cold"])
    assert wrong[0].startswith("outputs/base/policy/model is not what it ran with")


def test_a_changed_parameter_and_changed_code_are_named(project, run_stages) -> None:
    run_stages("curate@problems", "base@policy", "sft@cold")
    params = project / "params.yaml"
    assert "warmup_steps: 7" in params.read_text()
    params.write_text(params.read_text().replace("warmup_steps: 7", "warmup_steps: 8"))
    ((_, wrong),) = verify(["sft@cold"])
    assert wrong[0].startswith("params.yaml: sft.cold was {")
    (project / "lib" / "code.txt").write_text("two")
    commit(project)
    ((_, wrong),) = verify(["curate@problems"])
    assert wrong[0].startswith("lib is not what it ran with")


def test_what_has_not_run_or_is_no_stage_is_refused(project, run_stages) -> None:
    with pytest.raises(UserError, match=r"curate@problems is not in dvc\.lock"):
        list(verify([]))
    with pytest.raises(UserError, match=r"no stage 'sft@cool'.*Did you mean 'sft@cold'"):
        list(verify(["sft@cool"]))
