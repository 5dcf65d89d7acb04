"""Summaries of sequences, against their definition."""

import numpy as np
import pytest

from gatewise.baselines import summaries as module
from gatewise.baselines.summaries import summaries
from gatewise.data.sequences import from_arrays


def summary(sequence):
    """The summaries of one sequence, by definition."""
    steps = np.abs(np.diff(sequence, axis=0))
    return np.concatenate(
        [
            sequence.mean(axis=0),
            sequence.std(axis=0),
            sequence.min(axis=0),
            sequence.max(axis=0),
            sequence[0],
            sequence[-1],
            steps.mean(axis=0) if len(steps) else np.zeros(sequence.shape[1]),
            [len(sequence)],
        ]
    )


@pytest.mark.parametrize("cells", [1, 50, 4_000_000])
def test_summaries_are_those_of_each_sequence_alone(random, monkeypatch, cells):
    monkeypatch.setattr(module, "CELLS_AT_ONCE", cells)
    whole = from_arrays([random.normal(50, 3, size=(length, 3)) for length in (4, 1, 9, 6)])
    some = whole.chosen(np.array([2, 0, 1]))  # out of order and with gaps
    some = some.between(some.starts, some.stops - np.array([2, 0, 0]))
    np.testing.assert_allclose(summaries(some), [summary(one) for one in some])


def test_summaries_with_a_floor_end_in_logarithms_that_separate_a_tremor_from_stillness(random):
    still, trembling = np.full((9, 2), 5.0), 5 + random.normal(0, 0.01, size=(9, 2))
    some, floor = from_arrays([still, trembling]), np.array([0.001, 0.002])
    found, plain = summaries(some, floor), summaries(some)
    np.testing.assert_array_equal(found[:, : 7 * 2 + 1], plain)
    for row, one in zip(found[:, 7 * 2 + 1 :], (still, trembling), strict=True):
        change = np.abs(np.diff(one, axis=0)).mean(axis=0)
        expected = [*np.log(one.std(axis=0) + floor), *np.log(change + floor)]
        np.testing.assert_allclose(row, expected)


def test_summaries_of_bytes_do_not_wrap_around():
    images = np.array([[0, 255, 0], [255, 255, 255]], dtype=np.uint8)
    found = summaries(from_arrays(list(images)))
    np.testing.assert_allclose(found, [summary(image[:, None].astype(float)) for image in images])
