"""run_stage around stages of a few lines: what it gives them, refuses them, and leaves behind in every outcome."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from reforge.config.policy import LearnerConfig
from reforge.errors import UserError
from reforge.frame.context import StageContext
from reforge.frame.run import run_stage
from reforge.frame.values import _SPREAD, of_the_result
from reforge.lineage import graph, manifest

Run = Callable[[StageContext], None]


@pytest.fixture
def implement(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Run], None]:
    def put(stage: str, run: Run) -> None:
        module = ModuleType(f"reforge.stages.{stage}")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


def one_file(ctx: StageContext) -> None:
    (ctx.out / "problems").mkdir()
    (ctx.out / "problems" / "train.txt").write_text(Path("raw.txt").read_text())
    ctx.metrics["problems"] = float(ctx.cfg.problems.train or 0)


def test_a_stage_gets_what_it_declares_and_its_output_appears_whole(implement) -> None:
    seen = {}

    def run(ctx: StageContext) -> None:
        seen.update(deps=ctx.deps, raw=ctx.dep("raw.txt"), key=ctx.key, train=ctx.cfg.problems.train, seed=ctx.seed)
        assert not Path("outputs/curate").exists()
        one_file(ctx)

    implement("curate", run)
    run_stage("curate")
    assert seen["deps"] == (Path("raw.txt"), Path("lib"))
    assert seen["raw"] == Path("raw.txt")
    assert (seen["key"], seen["train"]) == ("", 64)
    assert 0 <= seen["seed"] < 2**31
    assert Path("outputs/curate/problems/train.txt").read_text() == "a problem"
    assert json.loads(Path("metrics/curate.json").read_text()) == {"problems": 64.0}
    assert list(Path(".scratch").iterdir()) == []


def test_manifest_says_what_the_stage_ran_on(implement, project: Path) -> None:
    implement("curate", one_file)
    run_stage("curate")
    record = manifest.read("curate", project)
    assert record.deps == graph.digests(["raw.txt", "lib"])
    assert record.outs == graph.digests(["outputs/curate", "metrics/curate.json"])
    assert record.facts["params_read"] == ["problems"]  # `seed` is declared too, but nobody read it
    assert len(record.facts["code"]["sha"]) == 40
    assert record.facts["code"]["dirty"] is False
    assert record.facts["seeds"]["config"] == 0
    assert record.mlflow_run_id


def test_instances_of_a_stage_differ_in_key_and_seed(implement) -> None:
    seen = {}

    def run(ctx: StageContext) -> None:
        seen[ctx.key] = (ctx.seed, ctx.cfg.rl.rungs[ctx.key].max_tokens)
        (ctx.out / "model").mkdir()
        (ctx.out / "model" / "w").write_text("w")

    for stage in ("curate", "base", "sft", "rl"):
        implement(stage, one_file if stage == "curate" else run)
    Path("outputs/sft/model").mkdir(parents=True)
    run_stage("rl@16k")
    run_stage("rl@32k")
    assert (seen["16k"][1], seen["32k"][1]) == (40, 80)
    assert seen["16k"][0] != seen["32k"][0]


def test_reading_an_undeclared_parameter_names_it(implement) -> None:
    implement("curate", lambda ctx: print(ctx.cfg.rl))
    with pytest.raises(UserError, match=r"'curate' reads the parameter 'rl' without declaring it"):
        run_stage("curate")


def test_reading_a_sibling_of_a_declared_key_names_it(implement) -> None:
    Path("outputs/curate/problems").mkdir(parents=True)
    implement("base", lambda ctx: print(ctx.cfg.model.vocab_size, ctx.cfg.model.path))
    with pytest.raises(UserError, match=r"reads the parameter 'model\.path' without declaring it"):
        run_stage("base")


def test_reading_an_undeclared_file_fails_and_writes_nothing(implement) -> None:
    Path("secret.txt").write_text("an input that DVC does not know")

    def run(ctx: StageContext) -> None:
        one_file(ctx)
        Path("secret.txt").read_text()

    implement("curate", run)
    with pytest.raises(UserError, match=r"'curate' opened secret\.txt, which dvc\.yaml does not list"):
        run_stage("curate")
    assert not Path("outputs/curate").exists()


def test_a_library_that_swallows_the_refusal_does_not_hide_it(implement) -> None:
    Path("secret.txt").write_text("an input that DVC does not know")

    def run(ctx: StageContext) -> None:
        try:
            Path("secret.txt").read_text()
        except Exception:
            one_file(ctx)

    implement("curate", run)
    with pytest.raises(UserError, match=r"opened secret\.txt"):
        run_stage("curate")
    assert not Path("outputs/curate").exists()


def test_writing_into_the_project_fails(implement) -> None:
    def run(ctx: StageContext) -> None:
        Path("note.txt").write_text("somewhere else than ctx.out")

    implement("curate", run)
    with pytest.raises(UserError, match=r"opened note\.txt"):
        run_stage("curate")
    assert not Path("note.txt").exists()


def test_ambiguous_or_absent_dep_is_an_error(implement) -> None:
    implement("curate", lambda ctx: print(ctx.dep("model")))
    with pytest.raises(UserError, match=r"'curate' has 0 deps named 'model' in dvc\.yaml: raw\.txt, lib"):
        run_stage("curate")


def test_a_missing_input_is_named_before_anything_runs(implement) -> None:
    implement("base", one_file)
    with pytest.raises(UserError, match=r"outputs/curate/problems is missing.*dvc repro"):
        run_stage("base")


def test_a_stage_that_dvc_does_not_know(project: Path) -> None:
    with pytest.raises(UserError, match=r"no stage 'curat'; there are: curate, base, .*Did you mean 'curate'"):
        run_stage("curat")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: No space left on device")]
)
def test_a_full_disk_is_one_paragraph_and_keeps_the_old_output(implement, error: Exception) -> None:
    implement("curate", one_file)
    run_stage("curate")
    before = graph.digests(["outputs/curate", "metrics/curate.json"])

    def run(ctx: StageContext) -> None:
        (ctx.out / "half").write_text("ha")
        raise error

    implement("curate", run)
    with pytest.raises(UserError, match=r"no space left on the disk.*finished steps are kept") as caught:
        run_stage("curate")
    assert "\n" not in str(caught.value)
    assert graph.digests(["outputs/curate", "metrics/curate.json"]) == before
    assert "Traceback" in Path(".runs/curate/error.log").read_text()


def test_a_full_disk_while_the_output_is_put_in_place(implement, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted failure comes from the operating system's side: fsync of the finished output."""
    implement("curate", one_file)

    def fsync(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("train.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="no space left"):
        run_stage("curate")
    assert not Path("outputs/curate").exists()
    assert not Path("metrics/curate.json").exists()


def test_metrics_of_the_steps_come_with_the_output(implement) -> None:
    def run(ctx: StageContext) -> None:
        one_file(ctx)
        ctx.tracker.log(1, {"loss": 0.5}, {"time/step": 1.0})

    implement("curate", run)
    for _ in range(2):
        run_stage("curate")
        assert Path("outputs/curate/metrics.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
        (timings,) = Path(".runs/curate/timings.jsonl").read_text().splitlines()  # of the last run
        assert "time/step" in timings


def test_a_run_goes_on_with_the_learner_spread_otherwise_but_not_with_another_learner() -> None:
    """What a stage resumes from is named by its parameters, without those that do not make the result."""
    learner = {"ranks": 2, "zero_stage": 3, "dtype": "float32"}
    params = {"rl.batch": 8, "rl.guards": {"bad_update": "stop"}, "learner": learner}
    spread = params | {"rl.guards": {"bad_update": "skip"}, "learner": learner | {"ranks": 1, "zero_stage": 0}}
    assert of_the_result(params) == of_the_result(spread)
    assert of_the_result(params) != of_the_result(params | {"learner": learner | {"dtype": "bfloat16"}})
    assert of_the_result(params) != of_the_result(params | {"rl.batch": 16})
    assert LearnerConfig.model_fields.keys() >= _SPREAD
