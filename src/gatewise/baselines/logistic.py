"""Logistic regression on summaries of sequences. Labels are class positions [n]."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import softmax

from gatewise import metrics
from gatewise.data.sequences import Sequences
from gatewise.errors import DataError

Array = NDArray[Any]


CELLS_AT_ONCE = 4_000_000  # bounds the memory of summaries: about 32 MB per array


def summaries(sequences: Sequences, floor: Array | None = None) -> Array:
    """Summary features of each sequence, most of which ignore the order of steps, [n, features].

    For each column: the mean, standard deviation, minimum, maximum, first and last value, and the
    mean absolute change from one step to the next; then the length. With a `floor` [columns], also
    the logarithms of the deviation and of the mean change, each plus its floor. They let a linear
    model tell slight trembling from stillness, which both look like 0 next to a jump.
    """
    before = np.cumsum(sequences.lengths) - sequences.lengths
    block = before * sequences.values.shape[1] // CELLS_AT_ONCE  # [n], ascending
    blocks = np.split(np.arange(len(sequences)), np.flatnonzero(np.diff(block)) + 1)
    return np.concatenate([_summaries(sequences.chosen(indices), floor) for indices in blocks])


def _summaries(sequences: Sequences, floor: Array | None) -> Array:
    lengths = sequences.lengths  # [n]
    ends = np.cumsum(lengths)
    begins = ends - lengths
    # The sequences of a part may lie anywhere in the values: lay their steps end to end.
    rows = np.arange(ends[-1]) + np.repeat(sequences.starts - begins, lengths)
    values = sequences.values[rows].astype(np.float64)  # [steps, columns]

    def mean(steps: Array, counts: Array) -> Array:
        total: Array = np.add.reduceat(steps, begins, axis=0)
        return total / counts[:, None]

    average = mean(values, lengths)
    spread = np.sqrt(mean(np.square(values - np.repeat(average, lengths, axis=0)), lengths))
    changes = np.abs(np.diff(values, axis=0, prepend=values[:1]))
    changes[begins] = 0  # the change from the last step of one sequence to the first of the next
    change = mean(changes, np.maximum(lengths - 1, 1))
    logarithms = [] if floor is None else [np.log(spread + floor), np.log(change + floor)]
    return np.concatenate(
        [
            average,
            spread,
            np.minimum.reduceat(values, begins, axis=0),
            np.maximum.reduceat(values, begins, axis=0),
            values[begins],
            values[ends - 1],
            change,
            lengths[:, None].astype(np.float64),
            *logarithms,
        ],
        axis=1,
    )


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
            "All sequences of the training part have the same label. Give at least two."
        )
    if valid is None or not len(valid[1]):
        return _logistic_of(features, labels, classes, 1.0)
    held, truth = valid
    models = (_logistic_of(features, labels, classes, choice) for choice in INVERSE_PENALTIES)
    return min(models, key=lambda model: metrics.log_loss(truth, logistic(model, held)))


def logistic(model: Logistic, features: Array) -> Array:
    """Probabilities [n, classes]; 0 for a class that is not in the training part."""
    probabilities: Array = softmax(features @ model.coefficients + model.intercept)
    return probabilities


def _logistic_of(features: Array, labels: Array, classes: int, inverse_penalty: float) -> Logistic:
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
