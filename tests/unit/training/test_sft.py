"""Which rows a supervised step learns from."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reforge.config.training import Sft
from reforge.training.sft import rows_of_step, steps_of


def config(**changed: object) -> Sft:
    values = {
        "init": "base/policy", "problems": "curate/problems", "rollouts": "none", "steps": None, "epochs": 2,
        "validation": None, "batch": 4, "learning_rate": 1e-3, "warmup_steps": 0, "decay": "none", "floor": 0.0,
        "checkpoint_every": 1,
    }  # fmt: skip
    return Sft.model_validate(values | changed)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4))
def test_an_epoch_takes_every_row_once_in_a_new_order(rows: int, batch: int, epochs: int) -> None:
    chosen = config(batch=batch, epochs=epochs)
    steps = [rows_of_step(chosen, rows, step, seed=3) for step in range(1, steps_of(chosen, rows) + 1)]
    passes = len(steps) // epochs
    for number in range(epochs):
        taken = steps[number * passes : (number + 1) * passes]
        assert sorted(row for step in taken for row in step) == list(range(rows))
    assert all(1 <= len(step) <= batch for step in steps)


def test_the_last_step_of_a_pass_takes_what_is_left_by_hand() -> None:
    """10 rows, 4 a step: 4, 4, 2, twice."""
    assert steps_of(config(), 10) == 6
    assert [len(rows_of_step(config(), 10, step, 0)) for step in range(1, 7)] == [4, 4, 2, 4, 4, 2]
    assert rows_of_step(config(), 10, 1, 0) != rows_of_step(config(), 10, 4, 0)
    assert rows_of_step(config(), 10, 1, 0) != rows_of_step(config(), 10, 1, 1)


def test_steps_draw_with_replacement_as_they_always_have() -> None:
    drawn = config(steps=5, epochs=None)
    assert steps_of(drawn, 10) == 5
    assert rows_of_step(drawn, 10, 2, 7) == random.Random("7/2").choices(range(10), k=4)


@pytest.mark.parametrize("both", [{"steps": 3, "epochs": 3}, {"steps": None, "epochs": None}])
def test_either_steps_or_epochs(both: dict[str, int | None]) -> None:
    with pytest.raises(ValueError, match="one of them is a number, the other null"):
        config(**both)
