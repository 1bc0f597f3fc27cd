"""The curate stage: what it writes, what it leaves out and why, and that nothing gets lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reforge.config.compose import compose
from reforge.config.load import build_config
from reforge.errors import InfrastructureError, UserError
from reforge.frame.context import StageContext
from reforge.problems.store import fate_of, read_problems, read_quarantined
from reforge.records import Problem, Status, Verdict
from reforge.stages import curate
from reforge.tracking.tracker import Tracker

SQUARES = [
    {
        "text": f"Square {i} things.",
        "code": f"def square{i}(x):\n    return x * x",
        "task_id": i,
        "test_setup_code": "",
        "test_list": [f"assert square{i}(2) == 4", f"assert square{i}(3) == 9"],
        "challenge_test_list": [],
    }
    for i in range(1, 9)
]


class Accepting:
    """Stands in for the sandbox: accepts every program but those that say otherwise."""

    def judge(self, program: str, problem: Problem) -> Verdict:
        said = {"# wrong": Verdict(Status.WRONG_ANSWER, "says so", 0), "# broken": Verdict(Status.INFRASTRUCTURE, "no")}
        return said.get(program.splitlines()[-1], Verdict(Status.ACCEPTED))


@pytest.fixture
def judged_by_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def judge_of(ctx: StageContext) -> Iterator[Accepting]:
        yield Accepting()

    monkeypatch.setattr(curate, "curation_judge", judge_of)


def context(out: Path, overrides: list[str], seed: int = 5) -> StageContext:
    out.mkdir(parents=True)
    cfg = build_config(compose(overrides), "test")
    scratch = out.with_name(f"{out.name}-scratch")
    scratch.mkdir()
    return StageContext("curate@problems", cfg, (), {}, out, scratch, scratch, seed, Tracker(scratch, scratch))


def mbpp(tmp_path: Path, rows: list[Any], *overrides: str) -> StageContext:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes = ["curate.problems.train=3", "curate.problems.heldout=2"]
    sizes += ["curate.problems.near=null"]  # squares are all alike
    sizes += ["curate.problems.statement_characters=[1, 9999]", *overrides]
    return context(tmp_path / "out", ["curate.problems=mbpp", f"curate.problems.sources.mbpp.path={path}", *sizes])


def funnel(ctx: StageContext) -> dict[str, Any]:
    return json.loads((ctx.out / "funnel.json").read_text())


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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
    sizes = ["curate.problems.difficulties=[1,2]", "curate.problems.train=64", "curate.problems.heldout=8"]
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


def own(number: int, **more: Any) -> dict[str, Any]:
    """A row in our own format; no two of them alike."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    tests = [{"kind": "stdin", "input": f"{number} {n}", "expected": str(number * n)} for n in range(1, 6)]
    said = f"Multiply {words[number % 10]} number by {words[number // 10]} other numbers, then print what you get."
    return {"id": f"own/{number}", "statement": said, "solution": "a, b = map(int, input().split())\nprint(a * b)",
            "tests": tests, **more}  # fmt: skip


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


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
