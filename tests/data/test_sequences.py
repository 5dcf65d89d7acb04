"""The one container: bounds over values that are never copied."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.sequences import from_arrays

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(lengths)
def test_sequences_hold_the_arrays_they_were_made_from(lengths):
    arrays = [np.full((length, 2), k) for k, length in enumerate(lengths)]
    made = from_arrays(arrays)
    assert len(made) == len(arrays)
    assert made.lengths.tolist() == lengths
    for mine, given_array in zip(made, arrays, strict=True):
        np.testing.assert_array_equal(mine, given_array)


def test_a_one_dimensional_array_has_one_column():
    made = from_arrays([np.zeros(3), np.ones(5)])
    assert made.values.shape == (8, 1)
    assert made.columns == ("x0",)
    assert made.ids.tolist() == ["0", "1"]


def test_bytes_stay_bytes():
    assert from_arrays([np.zeros((28, 28), dtype=np.uint8)]).values.dtype == np.uint8


@given(lengths, st.data())
def test_choosing_keeps_the_attributes_of_each_sequence(lengths, data):
    count = len(lengths)
    made = from_arrays(
        [np.full(length, k) for k, length in enumerate(lengths)],
        labels=np.arange(count).astype(str),
        groups=np.arange(count).astype(str),
        static={"height": np.arange(count) * 1.0},
    )
    which = np.array(data.draw(st.permutations(range(count))))[: data.draw(st.integers(0, count))]
    which = which.astype(int)
    chosen = made.chosen(which)
    for place, k in enumerate(which):
        assert (chosen[place] == k).all()
        assert len(chosen[place]) == lengths[k]
        assert chosen.ids[place] == chosen.labels[place] == chosen.groups[place] == str(k)
        assert chosen.static["height"][place] == k


def test_parts_share_the_values_of_the_whole():
    made = from_arrays([np.arange(10.0), np.arange(6.0)])
    part = made.between(made.starts + 2, made.stops - 1).chosen(np.array([1]))
    assert part.values is made.values
    assert part[0].ravel().tolist() == [2, 3, 4]
    assert part.first.tolist() == [10]  # a window may look back to the start of the whole sequence
