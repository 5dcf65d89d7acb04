"""The nearest neighbour, against its definition and published figures."""

import gzip

import numpy as np
import pytest

from gatewise import metrics
from gatewise.baselines import neighbours, summaries
from gatewise.data.sequences import Sequences, from_arrays


def warping_distance(one, other):
    """Squared DTW distance by the textbook's recursion (Sakoe & Chiba 1978), no window."""
    table = np.full((len(one) + 1, len(other) + 1), np.inf)
    table[0, 0] = 0
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1, j + 1] = ((a - b) ** 2).sum() + table[i : i + 2, j : j + 2].min()
    return table[-1, -1]


@pytest.mark.parametrize("cells", [1, 200, 2**20])
def test_warping_is_the_textbooks_recursion(random, monkeypatch, cells):
    monkeypatch.setattr(neighbours, "WARPING_CELLS", cells)
    near = from_arrays([random.normal(9, 1, size=(length, 2)) for length in (3, 8, 1, 5)])
    far = from_arrays([random.normal(9, 1, size=(length, 2)) for length in (6, 1, 4, 12, 6)])
    spread = np.array([0.5, 2.0])
    answer, how = neighbours.nearest_neighbour(near, np.arange(4), far, spread=spread)
    table = [[warping_distance(a / spread, b / spread) for a in near] for b in far]
    np.testing.assert_array_equal(answer, np.argmin(table, axis=1))
    assert "dynamic time warping" in how


def test_warped_distances_are_right_to_six_digits(random):
    near = from_arrays([random.normal(size=(length, 3)) for length in (7, 4)])
    far = from_arrays([random.normal(size=(length, 3)) for length in (5, 9)])
    padded = [neighbours._padded(some, np.zeros(3), np.ones(3)) for some in (near, far)]
    found = neighbours._warped(padded[0], near.lengths, padded[1], far.lengths)
    table = [[warping_distance(a, b) for a in near] for b in far]
    np.testing.assert_allclose(found, table, rtol=1e-5)


def test_warping_reaches_the_published_accuracy_on_japanese_vowels(vowels):
    (train, labels), (test, truth) = vowels
    answer, _ = neighbours.nearest_neighbour(train, labels, test, spread=np.ones(12))
    # Bagnall et al. 2018, "The UEA multivariate time series classification archive", DTW_D: 0.949
    assert round(metrics.accuracy(truth, answer), 3) == 0.949


def test_slow_warping_is_replaced_by_the_euclidean_distance(random, monkeypatch):
    monkeypatch.setattr(neighbours, "DTW_BUDGET", 0)
    near, far = random.normal(size=(20, 28, 2)), random.normal(size=(5, 28, 2))
    spread = np.array([1.0, 3.0])
    answer, how = neighbours.nearest_neighbour(
        from_arrays(list(near)), np.arange(20), from_arrays(list(far)), spread=spread
    )
    distances = (((far[:, None] - near) / spread) ** 2).sum(axis=(2, 3))
    np.testing.assert_array_equal(answer, distances.argmin(axis=1))
    assert how == "1-nearest neighbour: Euclidean distance."


def test_unequal_lengths_are_resampled_to_the_median(random, monkeypatch, vowels):
    monkeypatch.setattr(neighbours, "DTW_BUDGET", 0)
    (train, labels), (test, truth) = vowels
    answer, how = neighbours.nearest_neighbour(train, labels, test, spread=np.ones(12))
    assert "resampling every sequence to 15 steps" in how
    assert metrics.accuracy(truth, answer) > 0.9


@pytest.mark.parametrize("steps", [1, 2, 5, 28, 101])
def test_resampling_interpolates_like_numpy(random, steps):
    some = from_arrays([random.normal(size=(length, 2)) for length in (1, 2, 28, 28, 40)])
    found = neighbours._resampled(some, steps, np.ones(2, dtype=np.float32))
    for row, one in zip(found.reshape(5, steps, 2), some, strict=True):
        places = np.linspace(0, len(one) - 1, steps)
        expected = [np.interp(places, np.arange(len(one)), column) for column in one.T]
        np.testing.assert_allclose(row.T, expected, atol=1e-5)


def test_resampling_to_its_own_length_changes_nothing(random):
    images = random.integers(0, 255, size=(4, 28, 28)).astype(np.uint8)
    found = neighbours._resampled(from_arrays(list(images)), 28, np.ones(28, dtype=np.float32))
    np.testing.assert_array_equal(found, images.reshape(4, -1))


def test_too_many_sequences_are_thinned_label_by_label(random, monkeypatch):
    monkeypatch.setattr(neighbours, "DTW_BUDGET", 0)
    monkeypatch.setattr(neighbours, "EUCLIDEAN_BUDGET", 40 * 5 * 3)
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    near = from_arrays(list(random.normal(size=(100, 3)) + 100 * labels[:, None]))
    far = from_arrays(list(random.normal(size=(5, 3)) + [[0], [100], [200], [0], [200]]))
    answer, how = neighbours.nearest_neighbour(near, labels, far, spread=np.ones(1))
    np.testing.assert_array_equal(answer, [0, 1, 2, 0, 2])
    assert "40 of the 100 training sequences" in how
    kept = neighbours._stratified(labels, 40)
    assert len(np.unique(kept)) == 40
    np.testing.assert_allclose(np.bincount(labels[kept]), [20, 12, 8], atol=1)


def test_a_constant_column_divides_by_one():
    near = from_arrays([np.array([[1.0, 5.0]]), np.array([[2.0, 5.0]])])
    answer, _ = neighbours.nearest_neighbour(near, np.array([0, 1]), near, spread=np.array([1, 0]))
    np.testing.assert_array_equal(answer, [0, 1])


def test_mnist_neighbours_reach_the_published_accuracy(data_folder):
    def images(part):
        packed = (data_folder / "mnist" / f"{part}-images-idx3-ubyte.gz").read_bytes()
        rows = np.frombuffer(gzip.decompress(packed), np.uint8, offset=16).reshape(-1, 28)
        starts = np.arange(0, len(rows), 28)
        ids = starts.astype(str)
        return Sequences(rows, starts, starts + 28, starts, ids, tuple(map(str, range(28))))

    def digits(part):
        packed = (data_folder / "mnist" / f"{part}-labels-idx1-ubyte.gz").read_bytes()
        return np.frombuffer(gzip.decompress(packed), np.uint8, offset=8).astype(np.int64)

    answer, how = neighbours.nearest_neighbour(
        images("train"), digits("train"), images("t10k"), spread=np.ones(28)
    )
    assert how == "1-nearest neighbour: Euclidean distance."
    assert metrics.accuracy(digits("t10k"), answer) == pytest.approx(0.9691, abs=1e-3)
    assert summaries.summaries(images("train")).shape == (60_000, 197)
