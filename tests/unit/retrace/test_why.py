import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reforge.errors import UserError
from reforge.lineage import graph
from reforge.problems.funnel import Entry
from reforge.problems.store import write_origins, write_problems, write_quarantined
from reforge.records import Problem, Reward, Rollout, Status, Verdict
from reforge.retrace.why import why
from reforge.rollouts.store import to_row, write_rows

PROBLEM = Problem("mbpp/7", "Add.", "", ())


@pytest.fixture
def finished(run_stages: Callable[..., None], project: Path) -> Path:
    """Stages of a few lines, with one real rollout among what they made."""
    run_stages("curate@problems", "base@policy", "sft@cold", "rl@short")
    problems = Path("outputs/curate/problems/data")
    write_problems(problems / "train.parquet", [PROBLEM])
    write_problems(problems / "heldout.parquet", [])
    write_quarantined(problems / "quarantined.parquet", [])
    write_origins(problems / "origins.parquet", [Entry("mbpp", 34, PROBLEM)])
    rollout = Rollout("mbpp/7", 2, 99, (3, 3, 4), (1,), (5, 6, 7), (-0.1,) * 3, "stop", "text")
    reward = Reward(0.0, False, {}, Verdict(Status.WRONG_ANSWER, "returned 4", isolation="full"))
    write_rows(Path("outputs/rl/short/rollouts/step-00003.parquet"), [to_row(rollout, reward, 3, -0.5)])
    return project


def heads(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines if not line.startswith(" ")]


def test_a_rollout_leads_to_its_policy_its_verdict_and_the_row_of_its_problem(finished: Path) -> None:
    lines = why("rl@short/3/mbpp/7/2")
    assert heads(lines) == ["rl@short/3/mbpp/7/2", "rl@short", "sft@cold", "base@policy", "curate@problems"]
    said = [
        "rl@short/3/mbpp/7/2: in outputs/rl/short/rollouts/step-00003.parquet",
        "    drawn with seed 99 from policy version 3·4: 3 tokens, ended by stop",
        "    verdict WA (returned 4) at isolation full: reward 0.0, advantage -0.5",
        "    problem mbpp/7 (mbpp, line 34): kept for training",
    ]
    assert lines[:4] == said
    with pytest.raises(UserError, match=r"has no rollout mbpp/7/3; it has, for instance, mbpp/7/2"):
        why("rl@short/3/mbpp/7/3")
    with pytest.raises(UserError, match=r"step-00004\.parquet is missing"):
        why("rl@short/4/mbpp/7/2")


def test_a_number_leads_to_the_stage_that_found_it(finished: Path) -> None:
    Path("metrics/sft/cold.json").write_text(json.dumps({"pass@1/long": 0.6749, "loss": 67.5}))
    Path("metrics/rl/short.json").write_text(json.dumps({"other": 0.6751, "gain": -0.335}))
    for asked in ("pass@1/long", "+67.49", "0.6749", "67.49%"):
        lines = why(asked)
        assert lines[0] == "pass@1/long = 0.6749 in metrics/sft/cold.json", asked
        assert "sft@cold" in heads(lines), asked
    assert "other = 0.6751 in metrics/rl/short.json" not in why("67.49")
    assert why("\N{MINUS SIGN}33.5")[0] == "gain = -0.335 in metrics/rl/short.json"
    both = why("67.5")
    assert both[-1] == "Several stages have found it. Ask of one, as in: reforge why rl@short"
    assert set(both[:-1]) == {
        "pass@1/long = 0.6749 in metrics/sft/cold.json",
        "loss = 67.5 in metrics/sft/cold.json",
        "other = 0.6751 in metrics/rl/short.json",
    }


def test_a_number_of_a_table_leads_to_the_stage_that_made_the_table(finished: Path) -> None:
    """Those that the report shows and no headline holds: pass@k, ends of intervals, rates by difficulty, counts."""
    table = {"limits": {"long": {"pass@4": {"value": 0.4123, "low": None}, "per_problem": {"p": [1, 4]}, "of": "text"}}}
    Path("outputs/sft/cold/scores.json").write_text(json.dumps({**table, "counts": {"train": 12345}}))
    for asked, found in (
        ("41.2", "limits.long.pass@4.value = 0.4123"),
        ("41.2 %", "limits.long.pass@4.value = 0.4123"),
        ("limits.long.pass@4.value", "limits.long.pass@4.value = 0.4123"),
        ("12,345", "counts.train = 12345"),
    ):
        lines = why(asked)
        assert lines[0] == f"{found} in outputs/sft/cold/scores.json", asked
        assert heads(lines)[1:] == ["sft@cold", "base@policy", "curate@problems"], asked


def test_a_number_that_is_everywhere_is_not_shown_everywhere(finished: Path) -> None:
    Path("metrics/sft/cold.json").write_text(json.dumps({f"loss/{number}": 67.5 for number in range(11)}))
    lines = why("67.5")
    assert [line.partition(" ")[0] for line in lines[:9]] == [*(f"loss/{number}" for number in range(8)), "…"]
    assert lines[8] == "… and in 3 more places"


def test_a_digest_leads_to_its_stage(finished: Path) -> None:
    digest = graph.digests(["outputs/sft/cold"])["outputs/sft/cold"]
    assert heads(why(digest[:10])) == [
        f"{digest[:10]} is what sft@cold made",
        "sft@cold",
        "base@policy",
        "curate@problems",
    ]


def test_what_is_nothing_is_answered_with_what_could_be_asked(finished: Path) -> None:
    for nothing in ("12345.5", "README.md", "pass@9/x", "abcdef12", "nothing@short/3/p/0"):
        with pytest.raises(UserError, match="is no stage"):
            why(nothing)


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(finished: Path) -> None:
    Path("metrics/sft/cold.json").write_text(json.dumps({"pass@1/rl-long/long": 0.67}))
    for nearly, right in (("pass@1/rl-lon/long", "pass@1/rl-long/long"), ("rl@shor", "rl@short")):
        with pytest.raises(UserError, match=rf"Did you mean {right}\?"):
            why(nearly)


def test_a_digest_of_a_part_leads_to_the_stage_that_made_the_whole(finished: Path) -> None:
    """Weights, which the next stage reads by themselves, and a single file."""
    (read,) = (entry["md5"] for entry in graph.locked("sft@cold")["deps"] if entry["path"].endswith("/model"))
    assert heads(why(read[:10]))[:2] == [f"{read[:10]} is what base@policy made", "base@policy"]
    inside = graph.contents(graph.digests(["outputs/sft/cold"])["outputs/sft/cold"])["model/weights"]
    assert heads(why(inside))[:2] == [f"{inside} is what sft@cold made", "sft@cold"]


def test_what_was_changed_since_it_was_made_is_said(finished: Path) -> None:
    assert not any("CHANGED" in line and "base/policy" in line for line in why("base@policy"))
    Path("outputs/base/policy/model/weights").write_text("edited")
    Path("metrics/base/policy.json").write_text("{}")
    said = [line for line in why("base@policy") if "CHANGED" in line and "base/policy" in line]
    assert [line.split()[3] for line in said] == ["outputs/base/policy", "metrics/base/policy.json"]


def test_a_file_that_nobody_made_is_no_file(finished: Path) -> None:
    with pytest.raises(UserError, match=r"outputs/rl/short/rollouts/step-99999\.parquet is not there"):
        why("outputs/rl/short/rollouts/step-99999.parquet")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("verified.json", "base@policy"),
        (".runs/base@policy/manifest.json", "base@policy"),
        ("metrics/base/policy.json", "9.5"),
    ],
)
@pytest.mark.parametrize("text", ["nonsense", "[1]"])
def test_a_broken_record_is_named_with_what_to_do(finished: Path, path: str, asked: str, text: str) -> None:
    Path(path).write_text(text)
    with pytest.raises(UserError, match=rf"{path} (cannot be read as JSON|holds no JSON object).*\. \w+ it"):
        why(asked)
