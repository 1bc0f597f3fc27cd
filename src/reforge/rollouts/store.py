"""Every rollout of every step as Parquet: what replay, distillation, the report and a notebook all read.

The bytes are deterministic: there are no clocks in them. `solved` is null where nobody knows, or where the rollout is
refused; `reward` is what training raises, and null where the verdict is an infrastructure failure; `advantage` is null
where the rollout was not trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from reforge.files import parquet
from reforge.records import Group, Reward, Rollout, Status, Verdict
from reforge.rollouts.refusal import refusal

SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("problem_id", pa.string()),
        ("index", pa.int32()),
        ("turn", pa.int32()),
        ("seed", pa.int64()),
        ("policy_versions", pa.list_(pa.int32())),
        ("prompt_ids", pa.list_(pa.int32())),
        ("token_ids", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
        ("text", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("test_index", pa.int32()),
        ("isolation", pa.string()),
        ("solved", pa.bool_()),
        ("reward", pa.float64()),
        ("parts", pa.string()),
        ("advantage", pa.float64()),
        ("limit", pa.string()),
    ]
)
_PIECE = 64  # rollouts that are turned into a table at a time


def to_row(
    rollout: Rollout, reward: Reward, step: int = 0, advantage: float | None = None, limit: str = ""
) -> dict[str, Any]:
    """Return the row of a rollout. `limit` names the completion limit that an evaluated rollout was cut at."""
    verdict = reward.verdict
    return {
        "step": step,
        "problem_id": rollout.problem_id,
        "index": rollout.index,
        "turn": rollout.turn,
        "seed": rollout.seed,
        "policy_versions": rollout.policy_versions,
        "prompt_ids": rollout.prompt_ids,
        "token_ids": rollout.token_ids,
        "logprobs": rollout.logprobs,
        "finish_reason": rollout.finish_reason,
        "text": rollout.text,
        "status": str(verdict.status) if verdict else None,
        "reason": verdict.reason if verdict else "",
        "test_index": verdict.test_index if verdict else -1,
        "isolation": verdict.isolation if verdict else "",
        "solved": None if refusal(rollout) else reward.solved,
        "reward": reward.value,
        "parts": json.dumps(reward.parts, sort_keys=True),
        "advantage": advantage,
        "limit": limit,
    }


def from_row(row: Mapping[str, Any]) -> tuple[Rollout, Reward]:
    """Return the rollout and the reward that `to_row` was given, without the clocks of the verdict."""
    verdict = None
    if row["status"] is not None:
        verdict = Verdict(Status(row["status"]), row["reason"], row["test_index"], isolation=row["isolation"])
    rollout = Rollout(
        problem_id=row["problem_id"],
        index=row["index"],
        seed=row["seed"],
        policy_versions=tuple(row["policy_versions"]),
        prompt_ids=tuple(row["prompt_ids"]),
        token_ids=tuple(row["token_ids"]),
        logprobs=tuple(row["logprobs"]),
        finish_reason=row["finish_reason"],
        text=row["text"],
        turn=row["turn"],
    )
    return rollout, Reward(row["reward"], row["solved"], json.loads(row["parts"]), verdict)


def to_groups(rows: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Return the groups of one step's rows, in the order of the rows."""
    members: dict[str, list[tuple[Rollout, Reward]]] = {}
    for row in rows:
        members.setdefault(row["problem_id"], []).append(from_row(row))
    return [
        Group(problem, tuple(rollout for rollout, _ in group), tuple(reward for _, reward in group))
        for problem, group in members.items()
    ]


def rollouts_file(kind: str, out: Path, step: int = 0) -> Path:
    """Return where a stage of this kind, with the output `out`, leaves its rollouts; of rl those of `step`."""
    if kind == "rl":
        return out / "rollouts" / f"step-{step:05d}.parquet"
    return out / "data" / "rollouts.parquet" if kind == "sample" else out / "rollouts.parquet"


def write_rows(
    path: Path, rows: Iterable[dict[str, Any]], seen: Callable[[pa.Table], object] = lambda piece: None
) -> None:
    parquet.write_rows(path, rows, SCHEMA, _PIECE, seen)


def read_table(path: Path) -> pa.Table:
    """Return all of a file. Older files lack the column `solved`, for which the status stands in, or the column `turn`,
    which was always 0."""
    table = parquet.read_table(path)
    if "solved" not in table.column_names and "status" in table.column_names:
        solved = [Status(status).solved for status in table.column("status").to_pylist()]
        table = table.append_column("solved", pa.array(solved, pa.bool_()))
    if "turn" not in table.column_names and "index" in table.column_names:
        table = table.append_column("turn", pa.array([0] * len(table), pa.int32()))
    return table


def read_rows(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [row for path in sorted(paths) for row in read_table(path).to_pylist()]
