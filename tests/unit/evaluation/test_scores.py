import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.errors import InfrastructureError
from reforge.evaluation.scores import Outcome, problem_means, score_table

LENGTHS = {"16k": 48, "32k": 96}


def outcomes(length, *rows):
    """Rows of (problem, difficulty, verdicts) with C correct, W wrong, T truncated (and wrong), I infra."""
    return [
        Outcome(problem, difficulty, length, None if v == "I" else v == "C", v == "T", tokens=48 if v == "T" else 10)
        for problem, difficulty, verdicts in rows
        for v in verdicts
    ]


def test_the_table_by_hand():
    short = outcomes("16k", ("a", 1, "CCWW"), ("b", 1, "CCCC"), ("c", 2, "TTTT"))
    long = outcomes("32k", ("a", 1, "CCWW"), ("b", 1, "CCCC"), ("c", 2, "CWWI"))
    table = score_table("sft", short + long, [1, 2], 0.95, LENGTHS)
    assert (table["model"], table["rollouts"], table["ks"]) == ("sft", 4, [1, 2])
    at_16k, at_32k = table["limits"]["16k"], table["limits"]["32k"]
    assert at_16k["pass@1"]["value"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert at_16k["pass@2"]["value"] == pytest.approx((5 / 6 + 1 + 0) / 3)
    assert (at_16k["max_tokens"], at_16k["truncated"], at_16k["infra"]) == (48, pytest.approx(1 / 3), 0)
    assert at_16k["mean_tokens"] == pytest.approx((8 * 10 + 4 * 48) / 12)
    assert at_16k["by_difficulty"] == {"1": {"problems": 2, "pass@1": 0.75}, "2": {"problems": 1, "pass@1": 0.0}}
    assert at_32k["pass@1"]["value"] == pytest.approx((0.5 + 1 + 1 / 3) / 3)  # c: one of three, the fourth unscored
    assert at_32k["pass@2"]["value"] == pytest.approx((5 / 6 + 1 + 2 / 3) / 3)
    assert at_32k["infra"] == 1
    assert at_32k["per_problem"] == {"a": [2, 4], "b": [4, 4], "c": [1, 3]}
    json.dumps(table, allow_nan=False)


def test_an_infrastructure_failure_is_not_a_wrong_answer():
    failing = outcomes("16k", ("a", 1, "CI"), ("b", 1, "II"))
    score = score_table("sft", failing, [1, 2], 0.95, {"16k": 48})["limits"]["16k"]
    assert (score["pass@1"]["value"], score["infra"]) == (1.0, 3)
    assert score["pass@2"] == {"value": None, "low": None, "high": None}
    assert score["per_problem"] == {"a": [1, 1], "b": [0, 0]}


def test_no_score_when_nothing_was_judged():
    with pytest.raises(InfrastructureError, match="judged none of 2 rollouts"):
        score_table("sft", outcomes("16k", ("a", 1, "II")), [1], 0.95, {"16k": 48})


@pytest.mark.parametrize("lost", [0, 3, 5])
def test_a_lost_rollout_is_noticed(lost):
    complete = outcomes("16k", ("a", 1, "CW"), ("b", 1, "CC")) + outcomes("32k", ("a", 1, "CW"), ("b", 1, "CC"))
    score_table("sft", complete, [1], 0.95, LENGTHS)
    with pytest.raises(ValueError, match="equally many rollouts"):
        score_table("sft", complete[:lost] + complete[lost + 1 :], [1], 0.95, LENGTHS)


def test_a_length_without_rollouts_is_noticed():
    with pytest.raises(ValueError, match="equally many rollouts"):
        score_table("sft", outcomes("16k", ("a", 1, "C")), [1], 0.95, LENGTHS)


def test_problem_means_mark_the_unscored():
    means = problem_means({"a": [1, 4], "b": [0, 0]})
    assert means["a"] == 0.25
    assert math.isnan(means["b"])


verdicts = st.lists(st.text("CWTI", min_size=3, max_size=3), min_size=1, max_size=6)


@given(verdicts, st.randoms(use_true_random=False))
def test_neither_the_order_of_rollouts_nor_a_repeated_problem_changes_the_rate(rows, random):
    results = outcomes("16k", ("sure", 0, "CCC"), *((str(i), 1, row) for i, row in enumerate(rows)))
    shuffled = random.sample(results, len(results))
    table = score_table("m", results, [1, 2], 0.95, {"16k": 48})
    assert json.dumps(score_table("m", shuffled, [1, 2], 0.95, {"16k": 48})) == json.dumps(table)
    twice = results + [replace(o, problem_id=o.problem_id + "'") for o in results]
    score, doubled = table["limits"]["16k"], score_table("m", twice, [1, 2], 0.95, {"16k": 48})["limits"]["16k"]
    assert doubled["pass@1"]["value"] == pytest.approx(score["pass@1"]["value"])
    assert doubled["truncated"] == pytest.approx(score["truncated"])
