"""run_stage around stages of a few lines: what it gives them, refuses them, and leaves behind in every outcome."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from reforge.config.params import keep_origins
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
    (ctx.out / "data").mkdir()
    (ctx.out / "data" / "train.txt").write_text(Path("raw.txt").read_text())
    ctx.metrics["problems"] = float(ctx.cfg.curate[ctx.key].train or 0)


def test_a_stage_gets_what_it_declares_and_its_output_appears_whole(implement) -> None:
    seen = {}

    def run(ctx: StageContext) -> None:
        train = ctx.cfg.curate[ctx.key].train
        seen.update(deps=ctx.deps, raw=ctx.dep("raw.txt"), key=ctx.key, where=ctx.where, train=train, seed=ctx.seed)
        assert not Path("outputs/curate/problems").exists()
        one_file(ctx)

    implement("curate", run)
    run_stage("curate@problems")
    assert seen["deps"] == (Path("raw.txt"), Path("lib"))
    assert seen["raw"] == Path("raw.txt")
    assert (seen["key"], seen["where"], seen["train"]) == ("problems", "curate.problems", 64)
    assert 0 <= seen["seed"] < 2**31
    assert Path("outputs/curate/problems/data/train.txt").read_text() == "a problem"
    assert json.loads(Path("metrics/curate/problems.json").read_text()) == {"problems": 64.0}
    assert list(Path(".scratch").iterdir()) == []


def test_manifest_says_what_the_stage_ran_on(implement, project: Path) -> None:
    implement("curate", one_file)
    run_stage("curate@problems")
    record = manifest.read("curate@problems", project)
    assert record.deps == graph.digests(["raw.txt", "lib"])
    assert record.outs == graph.digests(["outputs/curate/problems", "metrics/curate/problems.json"])
    assert record.facts["params_read"] == ["curate.problems"]  # `seed` is declared too, but nobody read it
    assert len(record.facts["code"]["sha"]) == 40
    assert record.facts["code"]["dirty"] is False
    assert record.facts["seeds"]["config"] == 0
    assert record.mlflow_run_id


def test_instances_of_a_stage_differ_in_key_and_seed(implement) -> None:
    seen = {}

    def run(ctx: StageContext) -> None:
        seen[ctx.key] = (ctx.seed, ctx.cfg.rl[ctx.key].max_tokens)
        (ctx.out / "model").mkdir()
        (ctx.out / "model" / "w").write_text("w")

    implement("rl", run)
    for folder in ("outputs/sft/cold/model", "outputs/curate/problems/data"):
        Path(folder).mkdir(parents=True)
    run_stage("rl@short")
    run_stage("rl@long")
    assert (seen["short"][1], seen["long"][1]) == (40, 80)
    assert seen["short"][0] != seen["long"][0]


def test_an_input_is_the_folder_that_the_stage_s_own_values_name(implement) -> None:
    seen = {}

    def run(ctx: StageContext) -> None:
        seen.update({slot: ctx.input(slot) for slot in ("init", "problems", "rollouts")})
        (ctx.out / "model").mkdir()

    implement("sft", run)
    for folder in ("outputs/base/policy/model", "outputs/curate/problems/data"):
        Path(folder).mkdir(parents=True)
    run_stage("sft@cold")
    assert seen == {
        "init": Path("outputs/base/policy/model"),
        "problems": Path("outputs/curate/problems/data"),
        "rollouts": Path("outputs/none/data"),  # it has none, and DVC takes no empty path
    }


def test_a_stage_that_writes_nothing_of_what_its_kind_makes_is_an_error(implement) -> None:
    implement("curate", lambda ctx: (ctx.out / "elsewhere").mkdir())
    with pytest.raises(UserError, match="'curate@problems' makes problems, and has written no folder 'data'"):
        run_stage("curate@problems")
    assert not Path("outputs/curate/problems").exists()


def test_an_input_that_dvc_yaml_forgets_is_an_error(implement) -> None:
    """Else the stage would read what DVC does not see change."""
    text = Path("dvc.yaml").read_text()
    Path("dvc.yaml").write_text(text.replace(', "outputs/${item.rollouts}/data"]', "]"))
    implement("sft", lambda ctx: print(ctx.input("rollouts")))
    for folder in ("outputs/base/policy/model", "outputs/curate/problems/data"):
        Path(folder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"'sft@cold': dvc\.yaml does not list outputs/none/data, its rollouts, among"):
        run_stage("sft@cold")


def test_the_first_model_knows_what_began_with_it_and_no_other_stage_does(implement) -> None:
    seen = {}

    def run(ctx: StageContext) -> None:
        seen[ctx.name.partition("@")[0]] = dict(ctx.later)
        (ctx.out / "model").mkdir()

    implement("base", run)
    implement("sft", run)
    Path("outputs/curate/problems/data").mkdir(parents=True)
    run_stage("base@policy")
    run_stage("sft@cold")
    assert list(seen["base"]) == ["sft/cold", "rl/short", "rl/long", "evaluate/sft", "evaluate/rl-long"]
    assert seen["base"]["rl/long"].max_tokens == 80
    assert seen["sft"] == {}


def test_a_message_of_the_rooms_below_names_the_stage_s_own_keys(implement) -> None:
    """They know of no entry, so they write a star in its place; where the value was set is said after it."""

    def run(ctx: StageContext) -> None:
        raise UserError("rl.*.batch is too large, curate.*.train too small.")

    implement("rl", run)
    for folder in ("outputs/sft/cold/model", "outputs/curate/problems/data"):
        Path(folder).mkdir(parents=True)
    keep_origins({"rl.short.batch": "conf/x.yaml:7", "rl.long.batch": "conf/x.yaml:9"}, Path("params.yaml"))
    with pytest.raises(UserError) as caught:
        run_stage("rl@short")
    said = "rl.short.batch is too large, curate.*.train too small. (rl.short.batch was set by conf/x.yaml:7)"
    assert str(caught.value) == said


def test_reading_an_undeclared_parameter_names_it(implement) -> None:
    implement("curate", lambda ctx: print(ctx.cfg.rl))
    with pytest.raises(UserError, match=r"'curate@problems' reads the parameter 'rl' without declaring it"):
        run_stage("curate@problems")


def test_reading_a_sibling_of_a_declared_key_names_it(implement) -> None:
    Path("outputs/curate/problems/data").mkdir(parents=True)
    implement("base", lambda ctx: print(ctx.cfg.base["policy"].vocab_size, ctx.cfg.base["policy"].path))
    with pytest.raises(UserError, match=r"reads the parameter 'base\.policy\.path' without declaring it"):
        run_stage("base@policy")


def test_reading_an_undeclared_file_fails_and_writes_nothing(implement) -> None:
    Path("secret.txt").write_text("an input that DVC does not know")

    def run(ctx: StageContext) -> None:
        one_file(ctx)
        Path("secret.txt").read_text()

    implement("curate", run)
    with pytest.raises(UserError, match=r"'curate@problems' opened secret\.txt, which dvc\.yaml does not list") as said:
        run_stage("curate@problems")
    assert re.search(r"Opened by \S+pathlib\.py:\d+, .*for \S+test_run\.py:\d+", str(said.value))
    assert not Path("outputs/curate/problems").exists()


def test_a_library_that_swallows_the_refusal_does_not_hide_it(implement) -> None:
    Path("secret.txt").write_text("an input that DVC does not know")

    def run(ctx: StageContext) -> None:
        try:
            Path("secret.txt").read_text()
        except Exception:
            one_file(ctx)

    implement("curate", run)
    with pytest.raises(UserError, match=r"opened secret\.txt"):
        run_stage("curate@problems")
    assert not Path("outputs/curate/problems").exists()


def test_writing_into_the_project_fails(implement) -> None:
    def run(ctx: StageContext) -> None:
        Path("note.txt").write_text("somewhere else than ctx.out")

    implement("curate", run)
    with pytest.raises(UserError, match=r"opened note\.txt"):
        run_stage("curate@problems")
    assert not Path("note.txt").exists()


def test_ambiguous_or_absent_dep_is_an_error(implement) -> None:
    implement("curate", lambda ctx: print(ctx.dep("model")))
    with pytest.raises(UserError, match=r"'curate@problems' has 0 deps named 'model' in dvc\.yaml: raw\.txt, lib"):
        run_stage("curate@problems")


def test_a_missing_input_is_named_before_anything_runs(implement) -> None:
    implement("base", one_file)
    with pytest.raises(UserError, match=r"outputs/curate/problems/data is missing.*dvc repro"):
        run_stage("base@policy")


def test_a_stage_of_a_kind_that_no_module_implements(project: Path) -> None:
    text = Path("dvc.yaml").read_text()
    more = "  other: {cmd: x, params: [seed], deps: [raw.txt], outs: [outputs/other], metrics: [metrics/other.json]}\n"
    Path("dvc.yaml").write_text(text + more)
    with pytest.raises(UserError, match=r"has a stage 'other', and there is no src/reforge/stages/other\.py"):
        run_stage("other")


def test_a_library_that_a_stage_lacks_is_not_taken_for_the_stage(project: Path, monkeypatch) -> None:
    real = importlib.import_module

    def lacking(name: str, *rest: str) -> ModuleType:
        if name == "reforge.stages.curate":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", lacking)
    with pytest.raises(ModuleNotFoundError, match="'torch'"):
        run_stage("curate@problems")


def test_a_stage_that_dvc_does_not_know(project: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"no stage 'curate@problem'; there are: curate@problems, base@policy, .*Did you mean 'curate@problems'",
    ):
        run_stage("curate@problem")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: No space left on device")]
)
def test_a_full_disk_is_one_paragraph_and_keeps_the_old_output(implement, error: Exception) -> None:
    implement("curate", one_file)
    run_stage("curate@problems")
    before = graph.digests(["outputs/curate/problems", "metrics/curate/problems.json"])

    def run(ctx: StageContext) -> None:
        (ctx.out / "half").write_text("ha")
        raise error

    implement("curate", run)
    with pytest.raises(UserError, match=r"no space left on the disk.*finished steps are kept") as caught:
        run_stage("curate@problems")
    assert "\n" not in str(caught.value)
    assert graph.digests(["outputs/curate/problems", "metrics/curate/problems.json"]) == before
    assert "Traceback" in Path(".runs/curate@problems/error.log").read_text()


def test_a_full_disk_while_the_output_is_put_in_place(implement, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted failure comes from the operating system's side: fsync of the finished output."""
    implement("curate", one_file)

    def fsync(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("train.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="no space left"):
        run_stage("curate@problems")
    assert not Path("outputs/curate/problems").exists()
    assert not Path("metrics/curate/problems.json").exists()


def test_metrics_of_the_steps_come_with_the_output(implement) -> None:
    def run(ctx: StageContext) -> None:
        one_file(ctx)
        ctx.tracker.log(1, {"loss": 0.5}, {"time/step": 1.0})

    implement("curate", run)
    for _ in range(2):
        run_stage("curate@problems")
        assert Path("outputs/curate/problems/metrics.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'
        (timings,) = Path(".runs/curate@problems/timings.jsonl").read_text().splitlines()  # of the last run
        assert "time/step" in timings


def test_a_run_goes_on_with_the_learner_spread_otherwise_but_not_with_another_learner() -> None:
    """What a stage resumes from is named by its parameters, without those that do not make the result."""
    learner = {"ranks": 2, "zero_stage": 3, "dtype": "float32"}
    params = {"rl.short": {"batch": 8, "guards": {"bad_update": "stop"}}, "learner": learner}
    spread = {
        "rl.short": {"batch": 8, "guards": {"bad_update": "skip"}},
        "learner": learner | {"ranks": 1, "zero_stage": 0},
    }
    assert of_the_result(params) == of_the_result(spread)
    assert of_the_result(params) != of_the_result(params | {"learner": learner | {"dtype": "bfloat16"}})
    assert of_the_result(params) != of_the_result(params | {"rl.short": {**params["rl.short"], "batch": 16}})
    assert LearnerConfig.model_fields.keys() >= _SPREAD
