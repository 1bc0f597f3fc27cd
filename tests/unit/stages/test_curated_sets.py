"""Curation of published sets, and of several together."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reforge.errors import UserError
from reforge.problems.store import fate_of, read_problems, read_quarantined
from reforge.stages import curate
from tests.unit.stages.curated import (
    SQUARES,
    context,
    funnel,
    mbpp,
    own,
    written,
)


@pytest.mark.usefixtures("repository")
def test_duplicates_and_what_comes_from_an_evaluation_set_are_left_out(tmp_path: Path) -> None:
    rows = [
        {**SQUARES[n], "text": f"Power number {n}.", "code": f"def square{n + 1}(x):\n    return x ** {n + 2}"}
        | {"test_list": [f"assert square{n + 1}({x}) == {x ** (n + 2)}" for x in (2, 3)]}
        for n in range(7)
    ]
    again = {**rows[0], "task_id": 99, "text": "Do it twice."}
    held = tmp_path / "evaluation.jsonl"
    held.write_text(json.dumps({**rows[1], "task_id": 7, "text": "Cubes."}) + "\n")
    against = f"+curate.problems.against.held={{adapter: mbpp, path: {held}}}"
    ctx = mbpp(tmp_path, [*rows, again], "curate.problems.near={statement: 0.9, tests: 0.6}", against)
    curate.run(ctx)
    assert funnel(ctx)["duplicates"] == {"in": 8, "kept": 7, "quarantined": 1}
    assert funnel(ctx)["contamination"] == {"in": 7, "kept": 6, "quarantined": 1}
    found = read_quarantined(ctx.out / "data/quarantined.parquet")
    assert [(item.line, item.reason) for item in found] == [
        (8, "duplicate: of mbpp/1 (tests: 1.00)"),
        (2, "contaminated: by mbpp/7 (tests: 1.00)"),
    ]
    assert len(ctx.cfg.curate["problems"].against["held"].sha256) == 64
    assert fate_of([ctx.out / "data"], "mbpp/99") == [
        "mbpp/99 (mbpp, line 8): left out. duplicate: of mbpp/1 (tests: 1.00)"
    ]
    assert fate_of([ctx.out / "data"], "2")[0].startswith("mbpp/2 (mbpp, line 2): left out. contaminated: ")
    for side, words in (("heldout", "held out for evaluation"), ("train", "kept for training")):
        kept = read_problems(ctx.out / f"data/{side}.parquet")[0].id
        (line,) = fate_of([ctx.out / "data"], kept)
        assert line == f"{kept} (mbpp, line {kept.removeprefix('mbpp/')}): {words}"
        assert fate_of([ctx.out / "data"], f"mbpp:{kept.removeprefix('mbpp/')}") == [line]
    with pytest.raises(UserError, match="'mbpp/1000' is in no source"):
        fate_of([ctx.out / "data"], "mbpp/1000")

    (tmp_path / "undated").mkdir()  # of an evaluation set that is read by dates: sought all the same
    days = f'+curate.problems.against.held={{adapter: mbpp, path: {held}, after: "2024-01-01"}}'
    ctx = mbpp(tmp_path / "undated", rows, "curate.problems.near={statement: 0.9, tests: 0.6}", days)
    curate.run(ctx)
    assert funnel(ctx)["contamination"]["quarantined"] == 1

    held.write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"curate\.problems\.against\.held: .* has no problem"):
        curate.run(mbpp(tmp_path / "empty", rows, "curate.problems.near={statement: 0.9, tests: 0.6}", against))

    held.write_text("{}\n")
    (tmp_path / "second").mkdir()
    with pytest.raises(UserError, match=r"curate\.problems\.against\.held: .*line 1: no tests"):
        curate.run(mbpp(tmp_path / "second", rows, "curate.problems.near={statement: 0.9, tests: 0.6}", against))


@pytest.mark.usefixtures("repository")
def test_every_reference_solution_of_humaneval_is_verified(tmp_path: Path, shared: Path) -> None:
    path = shared / "data/humaneval/HumanEval.jsonl.gz"
    ctx = context(
        tmp_path / "out",
        ["curate.problems=humaneval", f"curate.problems.sources.humaneval.path={path}", "sandbox.cpu_seconds=8"],
    )
    curate.run(ctx)
    assert funnel(ctx)["verify"] == {"in": 164, "kept": 164, "quarantined": 0}
    assert funnel(ctx)["split"] == {"in": 164, "train": 100, "heldout": 64, "surplus": 0}
    assert (ctx.out / "raw/sources/humaneval/HumanEval.jsonl.gz").read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("repository")
def test_reference_solutions_of_mbpp_are_verified(tmp_path: Path, shared: Path) -> None:
    """Every 26th, the slowest (123), and one whose tests use an import of the solution (596)."""
    lines = (shared / "data/mbpp/mbpp.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in [*lines[::26], lines[122], lines[595]]]
    ctx = mbpp(tmp_path, rows, "sandbox.cpu_seconds=8")
    curate.run(ctx)
    assert funnel(ctx)["verify"] == {"in": 40, "kept": 40, "quarantined": 0}


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_several_sources_by_dates_with_and_without_references(tmp_path: Path) -> None:
    dated = [own(number, date=f"2024-05-{number + 1:02}") for number in range(8)]
    bare = [own(number, solution="", date="2024-06-01") for number in range(10, 13)]
    first = written(tmp_path / "first.jsonl", [*dated, own(9)])
    second = written(tmp_path / "second.jsonl", [*bare, own(0, date="2024-06-02")])
    third = written(tmp_path / "third.jsonl", [own(20, solution="")])
    windows = ', after: "2024-05-03", before: "2024-05-08"'
    sources = [
        "~curate.problems.sources.mbpp",
        f"+curate.problems.sources.first={{adapter: reforge, path: {first}{windows}}}",
        f"+curate.problems.sources.second={{adapter: reforge, path: {second}, unverified: true}}",
        f"+curate.problems.sources.third={{adapter: reforge, path: {third}}}",
    ]
    wanted = [
        "curate.problems.near=null",
        "curate.problems.heldout=3",
        "curate.problems.heldout_by=date",
        "curate.problems.train=null",
    ]
    ctx = context(tmp_path / "out", ["curate.problems=mbpp", *sources, *wanted])
    curate.run(ctx)
    found = funnel(ctx)
    assert found["read"] == {"in": 14, "kept": 13, "quarantined": 1}
    assert found["dates"] == {"in": 13, "kept": 9, "quarantined": 4}
    assert found["verify"] == {"in": 9, "kept": 8, "quarantined": 1}
    assert found["split"] == {"in": 8, "surplus": 0, "train": 5, "heldout": 3}
    assert found["reasons"] == {
        "too early": 2, "duplicate id": 1, "no date": 1, "no reference": 1, "too late": 1,
    }  # fmt: skip
    held = read_problems(ctx.out / "data/heldout.parquet")
    assert {problem.id for problem in held} == {"own/10", "own/11", "own/12"}
    assert "3 of 8 problems have no reference program" in (ctx.out / "README.md").read_text()
    assert fate_of([ctx.out / "data"], "third:1")[0].startswith("own/20 (third, line 1): left out. no reference")


@pytest.mark.usefixtures("repository", "judged_by_stand_in")
def test_what_a_policy_always_or_never_solves_is_left_out_and_the_rest_ordered_by_it(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [own(number) for number in range(8)])
    solved = {f"own/{number}": [1.0] * number + [0.0] * (7 - number) for number in range(8)}
    rates = [
        {"problem_id": id, "index": index, "limit": "long", "solved": reward == 1.0}
        for id, rewards in solved.items()
        for index, reward in enumerate(rewards)
    ]
    pq.write_table(pa.Table.from_pylist(rates), tmp_path / "rates.parquet")
    pass_rates = f"{{path: {tmp_path / 'rates.parquet'}, limit: long, above: 0.0, below: 1.0}}"
    chosen = ["~curate.problems.sources.mbpp", f"+curate.problems.sources.mine={{adapter: reforge, path: {path}}}"]
    chosen.append(f"curate.problems.pass_rates={pass_rates}")
    sizes = ["curate.problems.near=null", "curate.problems.heldout=1", "curate.problems.order=easiest_first"]
    ctx = context(tmp_path / "out", ["curate.problems=mbpp", *chosen, *sizes])
    curate.run(ctx)
    assert funnel(ctx)["pass_rates"] == {"in": 8, "kept": 6, "quarantined": 2}
    assert funnel(ctx)["reasons"] == {"too easy": 1, "too hard": 1}
    train = [problem.difficulty for problem in read_problems(ctx.out / "data/train.parquet")]
    assert train == sorted(train)
    assert set(train) < {14, 29, 43, 57, 71, 86}
