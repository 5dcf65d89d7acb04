"""The logistic regression on summaries, against scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gatewise import metrics
from gatewise.baselines import logistic
from gatewise.baselines.summaries import summaries
from gatewise.errors import DataError


def test_logistic_regression_classifies_speakers_without_a_warning(vowels):
    (train, labels), (test, truth) = vowels
    fitting, held = np.arange(len(labels)) % 5 > 0, np.arange(len(labels)) % 5 == 0
    features = summaries(train)
    model = logistic.fit_logistic(
        features[fitting], labels[fitting], 9, valid=(features[held], labels[held])
    )
    probabilities = logistic.logistic(model, summaries(test))
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
