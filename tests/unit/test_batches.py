import torch
from hypothesis import given
from hypothesis import strategies as st

from reforge.batches import Row, build_batch

PAD = 99


def test_masks_and_order_by_hand():
    rows = [Row((1, 2), (3, 4, 5), 0.5, (-0.1, -0.2, -0.3)), Row((6,), (7,), -1.0, (-0.4,))]
    batch = build_batch(rows, micro_batch_tokens=1000, pad_id=PAD)
    (micro,) = batch.micro_batches
    assert batch.tokens == 4
    assert micro.ids_BT.tolist() == [[6, 7, PAD, PAD, PAD], [1, 2, 3, 4, 5]]
    assert micro.mask_BT.tolist() == [[0, 1, 0, 0, 0], [0, 0, 1, 1, 1]]
    assert micro.advantages_N.tolist() == [-1.0, 0.5, 0.5, 0.5]
    assert torch.allclose(micro.sampler_logprobs_N, torch.tensor([-0.4, -0.1, -0.2, -0.3]))


def test_a_pad_id_inside_the_completion_is_still_trained():
    """pad == eos in many tokenizers: masks come from lengths, never from token values (TRL#4970)."""
    batch = build_batch([Row((1,), (PAD, 2, PAD))], micro_batch_tokens=100, pad_id=PAD)
    assert batch.micro_batches[0].mask_BT.tolist() == [[0, 1, 1, 1]]


row_lengths = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 30)), min_size=1, max_size=30)


@given(row_lengths, st.integers(16, 200))
def test_every_row_once_within_the_budget(lengths, budget):
    rows = [Row((0,) * prompt, (number,) * tokens) for number, (prompt, tokens) in enumerate(lengths)]
    batch = build_batch(rows, budget, PAD)
    assert (
        batch.tokens == sum(tokens for _, tokens in lengths) == sum(int(m.mask_BT.sum()) for m in batch.micro_batches)
    )
    seen = [
        int(ids[mask.bool()][0]) for m in batch.micro_batches for ids, mask in zip(m.ids_BT, m.mask_BT, strict=True)
    ]
    assert sorted(seen) == list(range(len(rows)))
    assert all(m.ids_BT.numel() <= budget or len(m.ids_BT) == 1 for m in batch.micro_batches)
