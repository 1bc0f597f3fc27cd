import math
import struct
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.errors import UserError
from reforge.files.parquet import read_table
from reforge.records import Reward, Rollout, Status, Verdict
from reforge.rollouts.digests import StepDigests, digests_of, read_digests, rollout_digests, write_digests
from reforge.rollouts.store import SCHEMA, to_row, write_rows

TENSORS = {"embed": "ab" * 32, "head": "cd" * 32}


def rollout(index: int = 0) -> Rollout:
    return Rollout("p", index, 5, (3, 3, 4), (1, 2), (7, 8, 9), (-0.5, -1.25, -0.125), "stop", "text")


def rows(count: int = 3) -> list[dict]:
    reward = Reward(1.0, True, {"accuracy": 1.0}, Verdict(Status.ACCEPTED))
    return [to_row(rollout(index), reward, 2, 0.5) for index in range(count)]


def recorded(of: list[dict], tensors: dict[str, str] = TENSORS) -> StepDigests:
    return digests_of(2, rollout_digests(pa.Table.from_pylist(of, schema=SCHEMA)), tensors)


def test_what_is_unchanged_is_not_named(tmp_path) -> None:
    write_digests(tmp_path / "step.json", recorded(rows()))
    record = read_digests(tmp_path / "step.json")
    assert record.changed(recorded(rows())) == []
    assert record.other_tensors(recorded([])) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token_ids", (7, 8, 8)),
        ("logprobs", (-0.5, math.nextafter(-1.25, 0.0), -0.125)),
        ("policy_versions", (3, 4, 4)),
        ("prompt_ids", (1, 3)),
        ("finish_reason", "length"),
        ("text", "test"),
        ("seed", 6),
    ],
)
def test_a_changed_field_is_named(field, value) -> None:
    record = recorded(rows())
    if field == "logprobs":  # the nearest number of 32 bits
        value = (
            -0.5,
            struct.unpack("f", struct.pack("I", struct.unpack("I", struct.pack("f", -1.25))[0] ^ 1))[0],
            -0.125,
        )
    other = rows()
    other[1] |= to_row(
        replace(rollout(1), **{field: value}), Reward(1.0, True, {"accuracy": 1.0}, Verdict(Status.ACCEPTED)), 2, 0.5
    )
    assert record.changed(recorded(other)) == [f"{field} of rollout p/1"]


@given(st.integers(0, 2), st.sampled_from(["reward", "advantage"]), st.integers(0, 63))
def test_every_bit_of_a_number_counts(index, field, bit) -> None:
    record = recorded(rows())
    other = rows()
    (bits,) = struct.unpack("Q", struct.pack("d", other[index][field]))
    (other[index][field],) = struct.unpack("d", struct.pack("Q", bits ^ (1 << bit)))
    assert record.changed(recorded(other)) == [f"{field} of rollout p/{index}"]


def test_a_mask_that_is_lost_is_named() -> None:
    record = recorded(rows())
    other = rows()
    other[2]["advantage"] = None
    assert record.changed(recorded(other)) == ["advantage of rollout p/2"]


def test_rollouts_that_come_or_go_are_named() -> None:
    record = recorded(rows())
    assert record.changed(recorded(rows(2))) == ["rollout p/2 is missing"]
    assert record.changed(recorded(rows(4))) == ["rollout p/3 was not there"]


def test_another_tensor_is_named() -> None:
    record = recorded(rows())
    assert record.other_tensors(recorded([], TENSORS | {"head": "ce" * 32})) == ["head"]
    assert record.other_tensors(recorded([], {"embed": "ab" * 32, "tail": "00" * 32})) == ["head", "tail"]


def test_files_that_are_cut_short_are_named_and_never_read_as_less(tmp_path) -> None:
    path, mark = tmp_path / "step.parquet", tmp_path / "step.json"
    write_rows(path, rows())
    write_digests(mark, recorded(rows()))
    for file, read in ((path, read_table), (mark, read_digests)):
        whole = file.read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            with pytest.raises(UserError, match=rf"{file.name} is missing or not"):
                read(file)
