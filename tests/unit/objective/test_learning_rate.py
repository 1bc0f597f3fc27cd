import pytest

from reforge.objective.learning_rate import learning_rate


def test_by_hand() -> None:
    # warm-up over 2 of 10 steps; then 8 steps on the way to 0 at step 11: done = (step − 2) / 9
    assert [learning_rate(1.0, 2, "none", step, 10) for step in (1, 2, 3, 10)] == [0.5, 1.0, 1.0, 1.0]
    assert learning_rate(1.0, 2, "linear", 5, 10) == pytest.approx(1 - 3 / 9)
    assert learning_rate(1.0, 2, "cosine", 5, 10) == pytest.approx(0.75)  # (1 + cos 60°) / 2
    assert learning_rate(1.0, 2, "linear", 10, 10) == pytest.approx(1 / 9)
    assert learning_rate(1.0, 0, "none", 1, 10) == 1.0
