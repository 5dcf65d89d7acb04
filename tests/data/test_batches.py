"""Every example once, few lengths, one smaller batch, and marked padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.batches import BUCKETS, edges, gather, plan
from gatewise.data.sequences import from_arrays

lengths = st.lists(st.integers(1, 60), max_size=200).map(lambda some: np.array(some, dtype=int))
sizes = st.integers(1, 20)
randoms = st.sampled_from([None, 0, 1])


def dealt(lengths, batch_size, padded, seed):
    random = None if seed is None else np.random.default_rng(seed)
    return plan(lengths, batch_size, padded=padded, random=random)


@given(lengths, sizes, st.booleans(), randoms)
def test_a_plan_holds_every_example_exactly_once(lengths, batch_size, padded, seed):
    made = dealt(lengths, batch_size, padded, seed)
    which = [k for batch, _ in made for k in batch.tolist()]
    assert sorted(which) == list(range(len(lengths)))
    assert sorted(made.order.tolist()) == list(range(len(lengths)))


@given(lengths, sizes, randoms)
def test_with_a_mask_there_are_few_lengths_and_one_smaller_batch(lengths, batch_size, seed):
    made = dealt(lengths, batch_size, True, seed)
    assert len(np.unique(made.lengths)) <= BUCKETS
    assert len(made) == -(-len(lengths) // batch_size)
    smaller = [batch for batch, _ in made if len(batch) != batch_size]
    assert len(smaller) <= 1
    assert all(0 < len(batch) < batch_size for batch in smaller)


@given(lengths, sizes, randoms)
def test_every_sequence_fits_into_its_batch(lengths, batch_size, seed):
    for batch, length in dealt(lengths, batch_size, True, seed):
        assert (lengths[batch] <= length).all()


@given(lengths, sizes, randoms)
def test_without_a_mask_only_equal_lengths_share_a_batch(lengths, batch_size, seed):
    for batch, length in dealt(lengths, batch_size, False, seed):
        assert (lengths[batch] == length).all()
        assert 0 < len(batch) <= batch_size


@given(
    st.one_of(lengths, st.builds(np.broadcast_to, st.integers(1, 60), st.integers(0, 200))),
    sizes,
    st.integers(1, 300),
    st.booleans(),
)
def test_a_batch_has_no_more_steps_than_asked_but_for_one_long_sequence(
    lengths, batch_size, steps, padded
):
    for batch, length in plan(lengths, batch_size, padded=padded, steps=steps):
        assert len(batch) == 1 or len(batch) * length <= steps


@given(lengths)
def test_the_longest_sequence_sets_the_longest_batch(lengths):
    made = edges(lengths, True)
    assert len(made) <= BUCKETS
    assert made.max(initial=0) == lengths.max(initial=0)


@pytest.mark.parametrize("padded", [True, False])
def test_one_length_keeps_the_order_given(padded):
    made = plan(np.broadcast_to(24, 7), 3, padded=padded)
    assert [(batch.tolist(), length) for batch, length in made] == [
        ([0, 1, 2], 24),
        ([3, 4, 5], 24),
        ([6], 24),
    ]


def test_no_examples_make_no_batches():
    assert len(plan(np.array([], dtype=int), 8, padded=True)) == 0
    assert len(plan(np.broadcast_to(24, 0), 8, padded=False)) == 0


@pytest.mark.parametrize("lengths", [np.broadcast_to(5, 400), np.arange(400) % 37 + 1])
def test_shuffling_depends_on_the_generator_alone(lengths):
    first, again, other = (dealt(lengths, 16, True, seed) for seed in (3, 3, 4))
    assert first.order.tolist() == again.order.tolist() != other.order.tolist()


def test_a_shuffled_epoch_mixes_long_and_short_batches():
    lengths = np.repeat([5, 50, 90], 200)
    made = dealt(lengths, 10, True, 0)
    assert (np.diff(made.lengths) < 0).any()


def test_every_one_of_200000_sequences_is_planned_without_a_mask():
    lengths = np.random.default_rng(0).integers(1, 20_000, 200_000)
    assert plan(lengths, 32, padded=False).order.shape == lengths.shape


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 5))
def test_gathering_returns_each_sequence_and_marks_padding(lengths, more):
    sequences = from_arrays([np.arange(length) + 100 * k for k, length in enumerate(lengths)])
    which = np.arange(len(lengths))[::-1]
    length = max(lengths) + more
    values, real = gather(sequences, which, length)
    assert values.shape == (len(lengths), length, 1)
    if real is None:
        assert set(lengths) == {length}
        real = np.ones(values.shape[:2], dtype=bool)
    for row, k in enumerate(which):
        assert real[row].sum() == lengths[k]
        np.testing.assert_array_equal(values[row][real[row]], sequences[k])


def test_the_last_sequence_is_padded_without_reading_past_the_end():
    sequences = from_arrays([np.arange(3, dtype=np.uint8), np.arange(2, dtype=np.uint8)])
    values, real = gather(sequences, np.array([1]), 6)
    assert values.dtype == np.uint8
    assert real.tolist() == [[True, True, False, False, False, False]]
