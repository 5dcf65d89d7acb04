"""The steps of sequences as features, against their definition."""

import numpy as np

from gatewise.baselines.flat import Growing, common_length, flat
from gatewise.data.sequences import from_arrays


def test_steps_lie_side_by_side_and_another_length_is_cut_or_repeats_its_last_step():
    numbers = np.arange(24.0).reshape(4, 3, 2)
    sequences = from_arrays([*numbers, numbers[0][:2], np.vstack([numbers[0], numbers[1]])])
    found = flat(sequences, 3)
    np.testing.assert_array_equal(found[:4], numbers.reshape(4, 6))
    np.testing.assert_array_equal(found[4], [0, 1, 2, 3, 2, 3])
    np.testing.assert_array_equal(found[5], found[0])
    assert common_length(sequences) == 0
    assert common_length(sequences.chosen(np.arange(4))) == 3


def test_steps_that_arrive_one_by_one_are_the_flat_steps_so_far():
    numbers = np.random.default_rng(0).normal(size=(2, 5, 3))
    growing = Growing(4, 3)
    state = growing.start(2)
    for count in range(1, 6):
        found = growing(numbers[:, count - 1], state)
        wanted = flat(from_arrays([*numbers[:, :count]]), 4)
        np.testing.assert_array_equal(found, np.c_[wanted, [count, count]])
