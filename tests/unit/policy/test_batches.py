import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reforge.policy.batches import Row, build_batch


def test_rows_and_targets_by_hand() -> None:
    rows = [Row((6,), (7,), 0.1, -1.0, (-0.4,)), Row((1, 2), (3, 4, 5), 0.2, 0.5, (-0.1, -0.2, -0.3))]
    batch = build_batch(rows, micro_batch_tokens=1000)
    (micro,) = batch.micro_batches
    assert batch.tokens == 4
    assert micro.ids_T.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert micro.positions_T.tolist() == [0, 1, 2, 3, 4, 0, 1]  # each row's own: no row is far from its beginning
    assert micro.trees == ((2, (3,)), (1, (1,)))
    assert micro.targets_N.tolist() == [3, 4, 5, 7]
    assert micro.states_N.tolist() == [1, 2, 3, 5]
    assert micro.rows_N.tolist() == [0, 0, 0, 1]
    assert micro.advantages_N.tolist() == [0.5, 0.5, 0.5, -1.0]
    assert torch.allclose(micro.token_weights_N, torch.tensor([0.2, 0.2, 0.2, 0.1]))
    assert torch.allclose(micro.sampler_logprobs_N, torch.tensor([-0.1, -0.2, -0.3, -0.4]))


def test_completions_of_one_prompt_share_it_by_hand() -> None:
    rows = [Row((1, 2), (3, 4), 0.1), Row((8,), (9,), 0.2), Row((1, 2), (5, 6, 7), 0.3)]
    (micro,) = build_batch(rows, micro_batch_tokens=1000).micro_batches
    assert micro.ids_T.tolist() == [1, 2, 5, 6, 7, 3, 4, 8, 9]
    assert micro.positions_T.tolist() == [0, 1, 2, 3, 4, 2, 3, 0, 1]
    assert micro.trees == ((2, (3, 2)), (1, (1,)))
    assert micro.targets_N.tolist() == [5, 6, 7, 3, 4, 9]
    assert micro.states_N.tolist() == [1, 2, 3, 1, 5, 7]  # the prompt's last token predicts the first of both
    assert micro.rows_N.tolist() == [0, 0, 0, 1, 1, 2]


def test_trap_05_a_pad_or_end_token_inside_the_completion_is_trained() -> None:
    """pad == eos in many tokenizers: what is trained comes from lengths, never from token values (TRL#4970)."""
    (micro,) = build_batch([Row((0,), (0, 2, 0))], micro_batch_tokens=100).micro_batches
    assert micro.targets_N.tolist() == [0, 2, 0]


@pytest.mark.parametrize("row", [Row((), (1, 2)), Row((1, 2), ())])
def test_a_row_that_nothing_can_be_learned_from_is_refused(row: Row) -> None:
    with pytest.raises(ValueError, match="at least one prompt token and one completion token"):
        build_batch([Row((1,), (2,)), row], 100)
    with pytest.raises(ValueError, match="at least one row"):
        build_batch([], 100)


row_lengths = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 30)), min_size=1, max_size=30)


@given(row_lengths, st.integers(16, 200), st.integers(1, 4))
def test_every_row_once_within_the_budget_and_as_many_for_each_rank(
    lengths: list[tuple[int, int]], budget: int, ranks: int
) -> None:
    rows = [Row((0,) * prompt, (number,) * tokens, 0.5) for number, (prompt, tokens) in enumerate(lengths)]
    batch = build_batch(rows, budget, ranks)
    assert batch.tokens == sum(tokens for _, tokens in lengths)
    assert len(batch.micro_batches) % ranks == 0
    seen, pieces = [], sum(len(micro.trees) for micro in batch.micro_batches if micro.token_weights_N.sum() > 0)
    for micro in batch.micro_batches:
        assert sum(prompt + sum(completions) for prompt, completions in micro.trees) == len(micro.ids_T)
        assert len(micro.ids_T) <= budget or len(micro.rows_N.unique()) == 1
        if micro.token_weights_N.sum() > 0:
            seen += micro.targets_N.tolist()
        else:  # a stand-in, so that each rank has something to do
            assert pieces < len(batch.micro_batches)
    assert sorted(seen) == sorted(number for number, (_, tokens) in enumerate(lengths) for _ in range(tokens))


@given(st.lists(st.integers(2, 100), min_size=8, max_size=60), st.integers(2, 4))
def test_ranks_get_about_equal_work(lengths: list[int], ranks: int) -> None:
    """No rank waits for another by more than one row, or a quarter of the budget."""
    batch = build_batch([Row((0,), (1,) * (length - 1), 0.5) for length in lengths], 128, ranks)
    sizes = [len(micro.ids_T) for micro in batch.micro_batches]
    assert max(sizes) - min(sizes) <= max(*lengths, 32)
