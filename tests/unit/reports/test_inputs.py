import pytest

from reforge.errors import UserError
from reforge.problems.store import read_problems
from reforge.reports.inputs import digest, funnel_rows, pick_examples, read_curve


def test_examples_follow_the_rule(finished):
    problems = {p.id: p for p in read_problems(finished.dep("outputs") / "curate/problems/data/heldout.parquet")}
    picked = dict(pick_examples(finished.dep("outputs") / "evaluate/rl-long/rollouts.parquet", "long", problems))
    assert {name: len(found) for name, found in picked.items()} == {"Solved": 2, "Failed": 2, "Truncated": 2}
    assert all(e.status == "AC" for e in picked["Solved"])
    assert all(e.status == "WA" and not e.truncated for e in picked["Failed"])
    assert all(e.truncated and e.tokens == 96 for e in picked["Truncated"])
    assert len({e.problem_id for found in picked.values() for e in found}) == 6
    assert min(e.difficulty for e in picked["Solved"]) > max(e.difficulty for e in picked["Failed"])


def test_funnel_rows_hold_every_count():
    funnel = {
        "source": "mbpp",
        "read": {"in": 7000, "kept": 2},
        "difficulties": {"train": {"1": 5}, "heldout": {"1": 6}},
    }
    assert list(funnel_rows(funnel)) == [
        ("source", "mbpp"),
        ("read", "in: 7,000 · kept: 2"),
        ("difficulties, train", "1: 5"),
        ("difficulties, heldout", "1: 6"),
    ]


@pytest.mark.parametrize("text", [None, '{"step": 1}\n{"st'])
def test_an_unreadable_curve_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"metrics.jsonl cannot be read.*rl@short"):
        read_curve(tmp_path, "short", 48)


def test_digest_is_that_of_dvc(tmp_path):
    # `dvc add` of this folder writes this md5 (dvc 3.67.1); the order is that of whole paths, not of folders
    for name, content in {"sub/x": "hi\n", "b.txt": "é\r\n", "a.txt": "1\n", "a/z": "2\n", "empty": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content.encode())
    assert digest(tmp_path) == "09e197494bf586e47320a03ced9b87dd.dir"
    (tmp_path / "a" / "z").write_text("3\n")
    assert digest(tmp_path) != "09e197494bf586e47320a03ced9b87dd.dir"
