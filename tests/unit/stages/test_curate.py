"""The curate stage: what it writes, what it leaves out and why, and that nothing gets lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reforge.errors import InfrastructureError, UserError
from reforge.problems.store import fate_of, read_problems, read_quarantined
from reforge.stages import curate
from tests.unit.stages.curated import (
    SQUARES,
    context,
    funnel,
    mbpp,
    snapshot_of,
)


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_every_row_is_kept_held_out_quarantined_or_surplus(tmp_path: Path) -> None:
    good = SQUARES[:6]
    bad = [
        SQUARES[0],
        {**SQUARES[6], "test_list": []},
        {**SQUARES[6], "test_list": SQUARES[6]["test_list"][:1]},
        {**SQUARES[7], "code": SQUARES[7]["code"] + "\n# wrong"},
        ["no object"],
    ]
    ctx = mbpp(tmp_path, [*good, *bad], "curate.problems.tests_per_problem=2")
    curate.run(ctx)
    found = funnel(ctx)
    assert found["read"] == {"in": 11, "kept": 8, "quarantined": 3}
    assert found["tests"] == {"in": 8, "kept": 7, "quarantined": 1}
    assert found["verify"] == {"in": 7, "kept": 6, "quarantined": 1}
    assert found["split"] == {"in": 6, "train": 3, "heldout": 2, "surplus": 1}
    assert [(item.line, item.id, item.reason) for item in read_quarantined(ctx.out / "data/quarantined.parquet")] == [
        (7, "1", "duplicate id: also in mbpp, line 1"),
        (8, "7", "no tests: test_list is empty"),
        (11, "", "not an object: a JSON list"),
        (9, "mbpp/7", "too few tests: 1 of 2"),
        (10, "mbpp/8", "reference solution WA: test 1, says so"),
    ]
    train, heldout = (read_problems(ctx.out / f"data/{side}.parquet") for side in ("train", "heldout"))
    assert {problem.id for problem in train + heldout} < {f"mbpp/{row['task_id']}" for row in good}
    assert (ctx.metrics["read/in"], ctx.metrics["verify/kept"], ctx.metrics["split/train"]) == (11, 6, 3)
    assert (ctx.out / "raw/sources/mbpp/rows.jsonl").read_bytes() == (tmp_path / "rows.jsonl").read_bytes()


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_generated_problems_are_split_evenly_and_repeat_byte_for_byte(tmp_path: Path) -> None:
    sizes = ["curate.problems.difficulties=[1,2]", "curate.problems.train=64", "curate.problems.heldout=8", NO_LIMIT]
    contexts = [context(tmp_path / name, sizes, seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))]
    for ctx in contexts:
        curate.run(ctx)
    one, again, other = (snapshot_of(ctx.out) for ctx in contexts)
    assert one == again
    assert one["raw/sources/generated/rows.jsonl"] != other["raw/sources/generated/rows.jsonl"]
    found = funnel(contexts[0])
    assert found["difficulties"] == {"train": {"1": 32, "2": 32}, "heldout": {"1": 4, "2": 4}}
    assert found["split"]["surplus"] == 0
    assert len(one["raw/sources/generated/rows.jsonl"].splitlines()) == 72


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_of_many_training_problems_few_show_how_they_are_solved(tmp_path: Path) -> None:
    """All are verified by their programs, and all have tests; the split and what is held out stay as they were."""
    sizes = ["curate.problems.difficulties=[1,2]", "curate.problems.train=64", "curate.problems.heldout=8"]
    few = "curate.problems.worked={difficulties: [1], count: 12}"
    contexts = [context(tmp_path / name, [*sizes, worked]) for name, worked in (("few", few), ("all", NO_LIMIT))]
    for ctx in contexts:
        curate.run(ctx)
    (train, heldout), (all_train, all_heldout) = (
        [read_problems(ctx.out / f"data/{side}.parquet") for side in ("train", "heldout")] for ctx in contexts
    )
    shown = [problem for problem in train if problem.solution]
    assert (len(train), len(shown), {problem.difficulty for problem in shown}) == (64, 12, {1})
    assert shown == [problem for problem in all_train if problem.difficulty == 1][:12]
    assert [problem.tests for problem in train] == [problem.tests for problem in all_train]
    assert not any(problem.thinking for problem in train if not problem.solution)
    assert heldout == all_heldout
    assert funnel(contexts[0])["verify"] == {"in": 72, "kept": 72, "quarantined": 0}


NO_LIMIT = "curate.problems.worked=null"


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_a_failing_sandbox_stops_the_stage_before_it_writes_problems(tmp_path: Path) -> None:
    ctx = mbpp(tmp_path, [*SQUARES, {**SQUARES[0], "task_id": 99, "code": SQUARES[0]["code"] + "\n# broken"}])
    with pytest.raises(InfrastructureError, match="a reference solution of mbpp/99: no"):
        curate.run(ctx)
    assert not (ctx.out / "data").exists()


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_a_problem_lost_on_the_way_stops_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = curate.verify
    monkeypatch.setattr(curate, "verify", lambda entries, *rest: real(entries[1:], *rest))
    with pytest.raises(AssertionError, match="8 problems came in"):
        curate.run(mbpp(tmp_path, SQUARES))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"there are no rows\. Check curate\.problems\.sources and what curate\.problems\.tests_per_problem, "),
        ([{"task_id": 1}, {"task_id": 2}], r"no tests \(2\)\. First: mbpp, line 1"),
        ([{**row, "code": row["code"] + "\n# wrong"} for row in SQUARES], r"reference solution WA \(8\)"),
        (SQUARES[:4], r"curate\.\*\.train=3 and curate\.\*\.heldout=2 are wanted, but 4 problems are left"),
    ],
)
@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_a_source_that_gives_nothing_or_too_little(tmp_path: Path, rows: list[Any], message: str) -> None:
    ctx = mbpp(tmp_path, rows)
    with pytest.raises(UserError, match=message):
        curate.run(ctx)
    assert not (ctx.out / "data").exists()


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_a_malformed_line_is_left_out_with_its_place_and_nothing_but_such_lines_is_an_error(tmp_path: Path) -> None:
    ctx = mbpp(tmp_path, SQUARES)
    (tmp_path / "rows.jsonl").open("a").write("{'text': 1}\n")
    source = ctx.cfg.curate["problems"].sources["mbpp"].model_copy(update={"sha256": ""})
    ctx.cfg.curate["problems"].sources["mbpp"] = source
    curate.run(ctx)
    (item,) = read_quarantined(ctx.out / "data/quarantined.parquet")
    assert (item.source, item.line, item.reason.partition(":")[0]) == ("mbpp", 9, "not JSON")
    assert fate_of([ctx.out / "data"], "mbpp:9")[0].startswith("(no id) (mbpp, line 9): left out. not JSON: ")

    (tmp_path / "rows.jsonl").write_text("{'text': 1}\n")
    with pytest.raises(UserError, match=r"is usable: not JSON \(1\)\. First: mbpp, line 1, not JSON: Expecting"):
        curate.run(ctx)


@pytest.mark.usefixtures("repository")
def test_the_real_sandbox_keeps_right_references_and_quarantines_the_others(tmp_path: Path) -> None:
    wrong = {**SQUARES[6], "code": "def square7(x):\n    return x + x"}  # right for 2, wrong for 3
    broken = {**SQUARES[7], "test_list": ["assert square8(Missing()) == 4"]}
    ctx = mbpp(tmp_path, [*SQUARES[:5], wrong, broken])
    curate.run(ctx)
    assert funnel(ctx)["verify"] == {"in": 7, "kept": 5, "quarantined": 2}
    first, second = read_quarantined(ctx.out / "data/quarantined.parquet")
    assert (first.id, first.line) == ("mbpp/7", 6)
    assert first.reason.startswith("reference solution WA: test 2")
    assert (second.id, second.line) == ("mbpp/8", 7)
    assert second.reason.startswith("reference solution RE: test 1, NameError")
