"""Logistic regression on summaries of sequences. Labels are class positions [n]."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise import metrics
from gatewise.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True)
class Logistic:
    """A multinomial logistic regression on unscaled features."""

    coefficients: Array  # [features, classes]
    intercept: Array  # [classes]
    inverse_penalty: float  # scikit-learn's C


INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)
NEG_INF = -1000.0  # the logit of a class that is not in the training part: its probability is 0


def fit_logistic(
    features: Array, labels: Array, classes: int, *, valid: tuple[Array, Array] | None
) -> Logistic:
    """Logistic regression on standardised features; log loss on `valid` chooses the penalty.

    `valid` holds the features and labels of the validation part; without it, C is 1.

    Raises:
        DataError: all labels of the training part are the same.
    """
    if len(np.unique(labels)) < 2:
        raise DataError(
            "All sequences of the training part have the same label. Give sequences with at least "
            "two labels."
        )
    if valid is None or not len(valid[1]):
        return _logistic_of(features, labels, classes, 1.0)
    held, truth = valid
    models = (_logistic_of(features, labels, classes, choice) for choice in INVERSE_PENALTIES)
    return min(models, key=lambda model: metrics.log_loss(truth, logistic(model, held)))


def logistic(model: Logistic, features: Array) -> Array:
    """Probabilities [n, classes]; 0 for a class that is not in the training part."""
    from scipy.special import softmax

    probabilities: Array = softmax(features @ model.coefficients + model.intercept, axis=1)
    return probabilities


def _logistic_of(features: Array, labels: Array, classes: int, inverse_penalty: float) -> Logistic:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(C=inverse_penalty, max_iter=300, tol=1e-3)
    with warnings.catch_warnings():
        # Early stopping regularises slightly, the validation part scores the result like any
        # other, and the user could do nothing about the warning.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(scaler.transform(features), labels)
    weights, offsets = regression.coef_.T, regression.intercept_  # [features, present], [present]
    if len(regression.classes_) == 2:  # scikit-learn keeps one logit for two classes
        weights, offsets = weights * [-0.5, 0.5], offsets * [-0.5, 0.5]
    coefficients = np.zeros((features.shape[1], classes))
    intercept = np.full(classes, NEG_INF)
    coefficients[:, regression.classes_] = weights / scaler.scale_[:, None]
    intercept[regression.classes_] = offsets
    intercept -= scaler.mean_ @ coefficients
    return Logistic(coefficients, intercept, inverse_penalty)
