"""The simplest answers, each against its definition or a published figure."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gatewise.data.datasets import settings_of
from gatewise.data.sequences import Sequences, from_arrays
from gatewise.errors import ConfigError, DataError
from gatewise.tasks import baselines, metrics


@pytest.fixture
def random():
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def vowels():
    """Train and test of Japanese Vowels: sequences and class positions."""
    data = settings_of("japanese-vowels")["data"]
    return [read_ts(Path(data[key])) for key in ("path", "test")]


def read_ts(path):
    lines = gzip.decompress(path.read_bytes()).decode().strip().splitlines()
    cases = [line.split(":") for line in lines[lines.index("@data") + 1 :]]
    arrays = [np.array([row.split(",") for row in case[:-1]], dtype=float).T for case in cases]
    return from_arrays(arrays), np.array([int(case[-1]) - 1 for case in cases])


def test_repeat_last_holds_the_last_value(random):
    past = random.normal(size=(3, 5, 2))
    answer = baselines.repeat_last(past, horizon=4)
    assert answer.shape == (3, 4, 2)
    assert (answer == past[:, -1:]).all()


def test_seasonal_naive_is_exact_on_a_seasonal_series():
    season = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    series = np.tile(season, 6)[None, :, None]
    answer = baselines.seasonal_naive(series[:, :13], horizon=12, season=5)
    np.testing.assert_array_equal(answer, series[:, 13:25])


def test_seasonal_naive_of_season_one_repeats_the_last_value(random):
    past = random.normal(size=(3, 5, 2))
    answer = baselines.seasonal_naive(past, horizon=4, season=1)
    np.testing.assert_array_equal(answer, baselines.repeat_last(past, horizon=4))


@pytest.mark.parametrize("season", [0, 6])
def test_seasonal_naive_refuses_a_season_that_does_not_fit(season):
    with pytest.raises(ConfigError, match="does not fit into a window of 5"):
        baselines.seasonal_naive(np.zeros((1, 5, 1)), horizon=2, season=season)


def test_drift_is_exact_on_a_line():
    line = (2 + 0.5 * np.arange(20))[None, :, None]
    np.testing.assert_allclose(baselines.drift(line[:, :8], horizon=12), line[:, 8:])


def test_drift_from_one_step_repeats_it():
    assert (baselines.drift(np.full((1, 1, 1), 7.0), horizon=3) == 7).all()


def windows(series, back, horizon):
    starts = np.arange(len(series) - back - horizon + 1)[:, None]
    return series[starts + np.arange(back)], series[starts + back + np.arange(horizon)]


def test_ridge_learns_a_sum_of_sines_at_any_level(random):
    steps = np.arange(600)
    series = np.stack([np.sin(steps / 5), 3 * np.sin(steps / 9)], axis=1)
    past, future = windows(series, back=30, horizon=6)
    model = baselines.fit_ridge(
        past[:400], future[:400], None, valid=(past[400:450], future[400:450], None)
    )
    level = np.array([100.0, -50.0])
    answer = baselines.ridge(model, past[450:] + level, None)
    assert metrics.mae(future[450:] + level, answer) < 0.01
    assert model.penalty == min(baselines.PENALTIES)


def test_ridge_on_noise_takes_a_large_penalty(random):
    past, future = random.normal(size=(200, 20, 1)), random.normal(size=(200, 3, 1))
    past[:, -1] = 0  # else the last value, which is taken away, would tell of the future
    half = slice(100), slice(100, 200)
    model = baselines.fit_ridge(
        past[half[0]], future[half[0]], None, valid=(past[half[1]], future[half[1]], None)
    )
    assert model.penalty >= 100


def test_ridge_reads_what_is_known_ahead(random):
    past, known = random.normal(size=(300, 4, 2)), random.normal(size=(300, 3, 2))
    future = past[:, -1:] + known @ np.array([[2.0], [-1.0]])
    model = baselines.fit_ridge(
        past[:200], future[:200], known[:200], valid=(past[200:], future[200:], known[200:])
    )
    answer = baselines.ridge(model, past[200:], known[200:])
    assert answer.shape == (100, 3, 2)
    assert metrics.mae(future[200:], answer) < 0.01


def test_ridge_is_scikit_learns_on_standardised_rows(random):
    past, future = random.normal(size=(50, 6, 3)), random.normal(size=(50, 2, 3))
    model = baselines.fit_ridge(past, future, None, valid=None)
    assert model.penalty == 1
    rows = np.concatenate([past[:, :, k] for k in range(3)])
    last, outputs = rows[:, -1:], np.concatenate([future[:, :, k] for k in range(3)])
    inputs = rows - last
    inputs = inputs / np.where(inputs.std(axis=0) == 0, 1, inputs.std(axis=0))
    theirs = SklearnRidge(alpha=1.0, solver="svd").fit(inputs, outputs - last).predict(inputs)
    ours = baselines.ridge(model, past, None)
    np.testing.assert_allclose(ours[:, :, 1], (theirs + last)[50:100], atol=1e-8)


def test_ridge_thins_a_large_training_part(random, monkeypatch):
    monkeypatch.setattr(baselines, "RIDGE_ROWS", 60)
    past, future = windows(np.sin(np.arange(500) / 5)[:, None] * [1.0, 2.0], back=8, horizon=2)
    model = baselines.fit_ridge(past, future, None, valid=None)
    kept = np.linspace(0, len(past) - 1, 30).astype(int)
    alone = baselines.fit_ridge(past[kept], future[kept], None, valid=None)
    np.testing.assert_array_equal(model.coefficients, alone.coefficients)


def test_residual_quantiles_cover_what_they_say(random):
    truth = random.normal(size=(1000, 3, 2)) * np.array([1.0, 5.0])
    answer = np.zeros_like(truth)
    offsets = baselines.residual_quantiles(truth, answer, (0.1, 0.5, 0.9))
    assert offsets.shape == (3, 2, 3)
    forecasts = answer[..., None] + offsets
    assert metrics.coverage(truth, forecasts[..., 0], forecasts[..., 2]) == pytest.approx(0.8)
    assert (np.diff(offsets) > 0).all()


def test_majority_is_the_frequency_of_each_class():
    np.testing.assert_allclose(baselines.majority(np.array([2, 2, 0, 2]), 4), [0.25, 0, 0.75, 0])


def summary(sequence):
    """Of one sequence, in plain words."""
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
    monkeypatch.setattr(baselines, "CELLS_AT_ONCE", cells)
    whole = from_arrays([random.normal(50, 3, size=(length, 3)) for length in (4, 1, 9, 6)])
    some = whole.chosen(np.array([2, 0, 1]))  # neither in order nor without gaps
    some = some.between(some.starts, some.stops - np.array([2, 0, 0]))
    np.testing.assert_allclose(baselines.summaries(some), [summary(one) for one in some])


def test_summaries_with_a_floor_end_in_logarithms_that_tell_a_trembling_from_stillness(random):
    still, trembling = np.full((9, 2), 5.0), 5 + random.normal(0, 0.01, size=(9, 2))
    some, floor = from_arrays([still, trembling]), np.array([0.001, 0.002])
    found, plain = baselines.summaries(some, floor), baselines.summaries(some)
    np.testing.assert_array_equal(found[:, : 7 * 2 + 1], plain)
    for row, one in zip(found[:, 7 * 2 + 1 :], (still, trembling), strict=True):
        change = np.abs(np.diff(one, axis=0)).mean(axis=0)
        expected = [*np.log(one.std(axis=0) + floor), *np.log(change + floor)]
        np.testing.assert_allclose(row, expected)


def test_summaries_of_bytes_do_not_wrap_around():
    images = np.array([[0, 255, 0], [255, 255, 255]], dtype=np.uint8)
    found = baselines.summaries(from_arrays(list(images)))
    np.testing.assert_allclose(found, [summary(image[:, None].astype(float)) for image in images])


def test_logistic_regression_tells_speakers_apart_without_a_warning(vowels):
    (train, labels), (test, truth) = vowels
    fitting, held = np.arange(len(labels)) % 5 > 0, np.arange(len(labels)) % 5 == 0
    features = baselines.summaries(train)
    model = baselines.fit_logistic(
        features[fitting], labels[fitting], 9, valid=(features[held], labels[held])
    )
    probabilities = baselines.logistic(model, baselines.summaries(test))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert metrics.accuracy(truth, probabilities.argmax(axis=1)) > 0.97


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_regression_is_scikit_learns_on_standardised_features(random, classes):
    features = random.normal([5, -300, 0.1, 2], [1, 40, 0.01, 0], size=(200, 4))
    labels = (np.arange(200) + (features[:, 0] > 5)) % classes
    model = baselines.fit_logistic(features, labels, classes, valid=None)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    expected = theirs.fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(baselines.logistic(model, features), expected, atol=1e-9)


def test_logistic_regression_gives_zero_to_a_class_it_never_saw(random):
    features, labels = random.normal(size=(40, 2)), np.repeat([0, 2], 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = baselines.fit_logistic(features, labels, 4, valid=None)
    probabilities = baselines.logistic(model, features)
    assert probabilities.shape == (40, 4)
    assert (probabilities[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_logistic_regression_wants_two_labels():
    with pytest.raises(DataError, match="one label only"):
        baselines.fit_logistic(np.zeros((3, 1)), np.zeros(3, dtype=int), 2, valid=None)


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
    monkeypatch.setattr(baselines, "WARPING_CELLS", cells)
    near = from_arrays([random.normal(9, 1, size=(length, 2)) for length in (3, 8, 1, 5)])
    far = from_arrays([random.normal(9, 1, size=(length, 2)) for length in (6, 1, 4, 12, 6)])
    spread = np.array([0.5, 2.0])
    answer, how = baselines.nearest_neighbour(near, np.arange(4), far, spread=spread)
    table = [[warping_distance(a / spread, b / spread) for a in near] for b in far]
    np.testing.assert_array_equal(answer, np.argmin(table, axis=1))
    assert "dynamic time warping" in how


def test_warped_distances_are_right_to_six_digits(random):
    near = from_arrays([random.normal(size=(length, 3)) for length in (7, 4)])
    far = from_arrays([random.normal(size=(length, 3)) for length in (5, 9)])
    padded = [baselines._padded(some, np.zeros(3), np.ones(3)) for some in (near, far)]
    found = baselines._warped(padded[0], near.lengths, padded[1], far.lengths)
    table = [[warping_distance(a, b) for a in near] for b in far]
    np.testing.assert_allclose(found, table, rtol=1e-5)


def test_warping_reaches_the_published_accuracy_on_japanese_vowels(vowels):
    (train, labels), (test, truth) = vowels
    answer, _ = baselines.nearest_neighbour(train, labels, test, spread=np.ones(12))
    # Bagnall et al. 2018, "The UEA multivariate time series classification archive", DTW_D: 0.949
    assert round(metrics.accuracy(truth, answer), 3) == 0.949


def test_dear_warping_gives_way_to_the_euclidean_distance(random, monkeypatch):
    monkeypatch.setattr(baselines, "DTW_BUDGET", 0)
    near, far = random.normal(size=(20, 28, 2)), random.normal(size=(5, 28, 2))
    spread = np.array([1.0, 3.0])
    answer, how = baselines.nearest_neighbour(
        from_arrays(list(near)), np.arange(20), from_arrays(list(far)), spread=spread
    )
    distances = (((far[:, None] - near) / spread) ** 2).sum(axis=(2, 3))
    np.testing.assert_array_equal(answer, distances.argmin(axis=1))
    assert how == "1-nearest neighbour: Euclidean distance."


def test_unequal_lengths_are_resampled_to_the_median(random, monkeypatch, vowels):
    monkeypatch.setattr(baselines, "DTW_BUDGET", 0)
    (train, labels), (test, truth) = vowels
    answer, how = baselines.nearest_neighbour(train, labels, test, spread=np.ones(12))
    assert "resampling every sequence to 15 steps" in how
    assert metrics.accuracy(truth, answer) > 0.9


@pytest.mark.parametrize("steps", [1, 2, 5, 28, 101])
def test_resampling_reads_a_line_where_numpy_does(random, steps):
    some = from_arrays([random.normal(size=(length, 2)) for length in (1, 2, 28, 28, 40)])
    found = baselines._resampled(some, steps, np.ones(2, dtype=np.float32))
    for row, one in zip(found.reshape(5, steps, 2), some, strict=True):
        places = np.linspace(0, len(one) - 1, steps)
        expected = [np.interp(places, np.arange(len(one)), column) for column in one.T]
        np.testing.assert_allclose(row.T, expected, atol=1e-5)


def test_resampling_to_its_own_length_changes_nothing(random):
    images = random.integers(0, 255, size=(4, 28, 28)).astype(np.uint8)
    found = baselines._resampled(from_arrays(list(images)), 28, np.ones(28, dtype=np.float32))
    np.testing.assert_array_equal(found, images.reshape(4, -1))


def test_too_many_sequences_are_thinned_label_by_label(random, monkeypatch):
    monkeypatch.setattr(baselines, "DTW_BUDGET", 0)
    monkeypatch.setattr(baselines, "EUCLIDEAN_BUDGET", 40 * 5 * 3)
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    near = from_arrays(list(random.normal(size=(100, 3)) + 100 * labels[:, None]))
    far = from_arrays(list(random.normal(size=(5, 3)) + [[0], [100], [200], [0], [200]]))
    answer, how = baselines.nearest_neighbour(near, labels, far, spread=np.ones(1))
    np.testing.assert_array_equal(answer, [0, 1, 2, 0, 2])
    assert "40 of the 100 training sequences" in how
    kept = baselines._stratified(labels, 40)
    assert len(np.unique(kept)) == 40
    np.testing.assert_allclose(np.bincount(labels[kept]), [20, 12, 8], atol=1)


def test_a_column_that_never_changes_divides_by_one():
    near = from_arrays([np.array([[1.0, 5.0]]), np.array([[2.0, 5.0]])])
    answer, _ = baselines.nearest_neighbour(near, np.array([0, 1]), near, spread=np.array([1, 0]))
    np.testing.assert_array_equal(answer, [0, 1])


@pytest.mark.slow
def test_mnist_neighbours_reach_the_known_accuracy_in_time(data_folder):
    def images(part):
        packed = (data_folder / "mnist" / f"{part}-images-idx3-ubyte.gz").read_bytes()
        rows = np.frombuffer(gzip.decompress(packed), np.uint8, offset=16).reshape(-1, 28)
        starts = np.arange(0, len(rows), 28)
        ids = starts.astype(str)
        return Sequences(rows, starts, starts + 28, starts, ids, tuple(map(str, range(28))))

    def digits(part):
        packed = (data_folder / "mnist" / f"{part}-labels-idx1-ubyte.gz").read_bytes()
        return np.frombuffer(gzip.decompress(packed), np.uint8, offset=8).astype(np.int64)

    answer, how = baselines.nearest_neighbour(
        images("train"), digits("train"), images("t10k"), spread=np.ones(28)
    )
    assert how == "1-nearest neighbour: Euclidean distance."
    assert metrics.accuracy(digits("t10k"), answer) == pytest.approx(0.9691, abs=1e-3)
    assert baselines.summaries(images("train")).shape == (60_000, 197)
