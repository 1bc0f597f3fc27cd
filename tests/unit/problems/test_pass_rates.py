"""Problems that a policy always or never solves are left out, by the rollouts of an evaluation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reforge.config.problems import PassRates
from reforge.errors import UserError
from reforge.problems.pass_rates import graded, pass_rates, unteachable
from reforge.records import Problem, Status

ROLLOUTS = [
    ("a", "32k", "AC"), ("a", "32k", "WA"), ("a", "32k", "TLE"), ("a", "32k", "INFRA"), ("a", "16k", "WA"),
    ("b", "32k", "AC"), ("c", "32k", "WA"), ("d", "32k", "BROKEN"),
]  # fmt: skip


def settings(path: Path, **more: Any) -> PassRates:
    """The reward is one of the user's own, never 0 or 1."""
    rows = [
        {"problem_id": id, "index": index, "limit": limit, "solved": Status(status).solved, "reward": 0.1}
        for index, (id, limit, status) in enumerate(ROLLOUTS)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return PassRates(**{"path": str(path), "limit": "32k", "above": 0.0, "below": 1.0, **more})


def test_rates_are_shares_of_judged_rollouts_at_one_limit(tmp_path: Path) -> None:
    config = settings(tmp_path / "r.parquet")
    rates = pass_rates(config)
    assert rates == {"a": pytest.approx(1 / 3), "b": 1.0, "c": 0.0}
    reasons = [unteachable(Problem(id, "", "", ()), rates, config) for id in "abcd"]
    assert [reason.partition(":")[0] for reason in reasons] == ["", "too easy", "too hard", "not measured"]
    assert graded(Problem("a", "", "", ()), rates).difficulty == 67
    narrow = settings(tmp_path / "r.parquet", above=0.4)
    assert unteachable(Problem("a", "", "", ()), rates, narrow) == "too hard: solved in 33% of the rollouts"


def test_a_limit_that_was_not_evaluated_and_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with pytest.raises(UserError, match="has no '64k', only 16k, 32k"):
        pass_rates(settings(path, limit="64k"))
    assert pass_rates(settings(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    with pytest.raises(UserError, match="changed since compose"):
        pass_rates(settings(path, sha256="0" * 64))
    other = settings(path)
    pq.write_table(pa.table({"problem_id": ["a"], "index": [0], "limit": ["32k"]}), path)  # of before `solved`
    with pytest.raises(UserError, match=r"must be the rollouts\.parquet of an evaluation.*solved"):
        pass_rates(other)
    path.write_text("nonsense")
    with pytest.raises(UserError, match=r"must be the rollouts\.parquet of an evaluation"):
        pass_rates(other)
