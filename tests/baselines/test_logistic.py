"""Summaries and the logistic regression on them, against scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gatewise import metrics
from gatewise.baselines import logistic
from gatewise.data.sequences import from_arrays
from gatewise.errors import DataError


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
    monkeypatch.setattr(logistic, "CELLS_AT_ONCE", cells)
    whole = from_arrays([random.normal(50, 3, size=(length, 3)) for length in (4, 1, 9, 6)])
    some = whole.chosen(np.array([2, 0, 1]))  # out of order and with gaps
    some = some.between(some.starts, some.stops - np.array([2, 0, 0]))
    np.testing.assert_allclose(logistic.summaries(some), [summary(one) for one in some])


def test_summaries_with_a_floor_end_in_logarithms_that_separate_a_tremor_from_stillness(random):
    still, trembling = np.full((9, 2), 5.0), 5 + random.normal(0, 0.01, size=(9, 2))
    some, floor = from_arrays([still, trembling]), np.array([0.001, 0.002])
    found, plain = logistic.summaries(some, floor), logistic.summaries(some)
    np.testing.assert_array_equal(found[:, : 7 * 2 + 1], plain)
    for row, one in zip(found[:, 7 * 2 + 1 :], (still, trembling), strict=True):
        change = np.abs(np.diff(one, axis=0)).mean(axis=0)
        expected = [*np.log(one.std(axis=0) + floor), *np.log(change + floor)]
        np.testing.assert_allclose(row, expected)


def test_summaries_of_bytes_do_not_wrap_around():
    images = np.array([[0, 255, 0], [255, 255, 255]], dtype=np.uint8)
    found = logistic.summaries(from_arrays(list(images)))
    np.testing.assert_allclose(found, [summary(image[:, None].astype(float)) for image in images])


def test_logistic_regression_classifies_speakers_without_a_warning(vowels):
    (train, labels), (test, truth) = vowels
    fitting, held = np.arange(len(labels)) % 5 > 0, np.arange(len(labels)) % 5 == 0
    features = logistic.summaries(train)
    model = logistic.fit_logistic(
        features[fitting], labels[fitting], 9, valid=(features[held], labels[held])
    )
    probabilities = logistic.logistic(model, logistic.summaries(test))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert metrics.accuracy(truth, probabilities.argmax(axis=1)) > 0.97


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_regression_is_scikit_learns_on_standardised_features(random, classes):
    features = random.normal([5, -300, 0.1, 2], [1, 40, 0.01, 0], size=(200, 4))
    labels = (np.arange(200) + (features[:, 0] > 5)) % classes
    model = logistic.fit_logistic(features, labels, classes, valid=None)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    expected = theirs.fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(logistic.logistic(model, features), expected, atol=1e-9)


def test_logistic_regression_gives_zero_to_a_class_it_never_saw(random):
    features, labels = random.normal(size=(40, 2)), np.repeat([0, 2], 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = logistic.fit_logistic(features, labels, 4, valid=None)
    probabilities = logistic.logistic(model, features)
    assert probabilities.shape == (40, 4)
    assert (probabilities[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_logistic_regression_requires_two_labels():
    with pytest.raises(DataError, match="have the same label"):
        logistic.fit_logistic(np.zeros((3, 1)), np.zeros(3, dtype=int), 2, valid=None)
