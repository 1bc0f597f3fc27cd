import json

import pytest

from reforge.lineage.levels import level, note, note_repeated, verified

CLEAN = {"code": {"dirty": False}, "resumed": []}
EQUAL = {"step": 4, "differing": []}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "R0, recorded: it was made elsewhere"),
        (CLEAN | {"code": {"dirty": True}}, "R0, recorded: the code that it ran on is not committed"),
        (CLEAN, "R1, re-runnable: no step had to be computed again, and it is not verified yet"),
        (CLEAN | {"resumed": [EQUAL, EQUAL]}, "R2, resume-equal: 1 step came out the same after an interruption"),
        (CLEAN | {"resumed": [EQUAL, EQUAL | {"step": 5}]}, "R2, resume-equal: 2 steps came out the same after an "),
        (
            CLEAN | {"resumed": [EQUAL, {"step": 5, "differing": ["loss"]}]},
            "R1, re-runnable: after an interruption loss came out differently",
        ),
    ],
)
def test_the_level_follows_from_what_has_happened(tmp_path, facts, said) -> None:
    assert level("outputs/sft/cold", "abc", facts, tmp_path).startswith(said)
    note(tmp_path, {"outputs/sft/cold": "another"})
    assert level("outputs/sft/cold", "abc", facts, tmp_path).startswith(said)
    note(tmp_path, {"outputs/sft/cold": "abc"})
    assert level("outputs/sft/cold", "abc", facts, tmp_path).startswith("R3")
    note(tmp_path, {"outputs/sft/cold": None})
    assert level("outputs/sft/cold", "abc", facts, tmp_path).startswith(said)


def test_outputs_and_experiments_are_noted_apart(tmp_path) -> None:
    note(tmp_path, {"outputs/sft/cold": "abc", "outputs/rl/short": None})
    note_repeated(tmp_path, "tiny", "within 3 of 5 points.")
    note(tmp_path, {"outputs/base/policy": "def"})
    outputs, experiments = {"outputs/sft/cold": "abc", "outputs/base/policy": "def"}, {"tiny": "within 3 of 5 points."}
    known = {"outputs": outputs, "experiments": experiments}
    assert json.loads((tmp_path / "verified.json").read_text()) == known
    note_repeated(tmp_path, "tiny", None)
    assert json.loads((tmp_path / "verified.json").read_text())["experiments"] == {}
    assert verified(tmp_path) == known["outputs"]
