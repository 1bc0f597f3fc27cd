import pytest

from reforge.objective.learning_rate import learning_rate


def test_by_hand() -> None:
    # warm-up over 2 of 10 steps; then 8 steps on the way to 0 at step 11: done = (step − 2) / 9
    assert [learning_rate(1.0, 2, "none", 0.0, step, 10) for step in (1, 2, 3, 10)] == [0.5, 1.0, 1.0, 1.0]
    assert learning_rate(1.0, 2, "linear", 0.0, 5, 10) == pytest.approx(1 - 3 / 9)
    assert learning_rate(1.0, 2, "cosine", 0.0, 5, 10) == pytest.approx(0.75)  # (1 + cos 60°) / 2
    assert learning_rate(1.0, 2, "linear", 0.0, 10, 10) == pytest.approx(1 / 9)
    assert learning_rate(1.0, 0, "none", 0.0, 1, 10) == 1.0


def test_it_falls_to_its_floor_by_hand() -> None:
    """R1 falls to a tenth: half way down a line from 1 to 0.1 is 0.55."""
    assert learning_rate(1.0, 0, "linear", 0.1, 5, 9) == pytest.approx(0.55)
    assert learning_rate(2.0, 0, "cosine", 0.1, 5, 9) == pytest.approx(1.1)
    assert learning_rate(1.0, 0, "none", 0.1, 5, 9) == 1.0
    last = [learning_rate(1.0, 0, decay, 0.1, 1000, 1000) for decay in ("linear", "cosine")]
    assert last == pytest.approx([0.1, 0.1], abs=1e-3)
