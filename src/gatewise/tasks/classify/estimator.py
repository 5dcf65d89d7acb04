"""The scikit-learn estimator of the task."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import check_is_fitted

from gatewise import pipeline
from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.estimators import Estimator, length_of, rows_of, value_errors
from gatewise.prediction import predict
from gatewise.readers.arrays import is_missing
from gatewise.readers.labels import whole_label
from gatewise.readers.memory import plain


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]  # scikit-learn is untyped
    """An LSTM that predicts the label of a sequence.

    X is an array [sequences, steps] or [sequences, steps, columns], a table with a row for each
    sequence, or a list of arrays [steps, columns] of different lengths. y holds a label for each
    sequence. `settings` takes the sections of a settings file.

    >>> Classifier(units=(32,)).get_params()["units"]
    (32,)
    """

    @value_errors()
    def fit(self, X: Any, y: Any) -> Self:
        """Train on labelled sequences.

        Raises:
            DataError: X and y differ in length, a label is missing, or all labels are the same.
        """
        sequences, labels = rows_of(self._read(X, fit=True)), _labels(plain(y))
        count = length_of(sequences, "X", "a sequence in each row")
        if len(labels) != count:
            raise DataError(
                f"X has {count} sequences, but y has {len(labels)} labels. Give one label for each."
            )
        self.classes_, codes = np.unique(labels, return_inverse=True)
        names = np.array(_names(self.classes_))
        self.run_ = pipeline.run(
            self._experiment("classify"), (sequences, names[codes]), folder=None
        )
        return self

    def predict(self, X: Any) -> Array:
        """The most probable label of each sequence, [sequences]."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    @value_errors()
    def predict_proba(self, X: Any) -> Array:
        """Calibrated probabilities, [sequences, classes] in the order of `classes_`."""
        check_is_fitted(self, "run_")
        table = predict(self.run_.artefact, rows_of(self._read(X)))
        return table.select([f"p({name})" for name in _names(self.classes_)]).to_numpy()


def _labels(y: Any) -> Array:
    """The labels, [sequences].

    Raises:
        DataError: y does not hold one label for each sequence, or a label is missing.
    """
    length_of(y, "y", "a label for each sequence")
    try:
        labels = np.asarray(y)
    except ValueError:
        labels = np.empty((0, 0))
    if labels.ndim == 2 and labels.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. It is read as y.ravel().",
            DataConversionWarning,
            stacklevel=4,  # the call of fit
        )
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            "y must hold one label for each sequence (for one-hot labels: y.argmax(axis=1)). "
            f"Received shape: {labels.shape}."
        )
    missing = np.array([is_missing(label) for label in labels.tolist()], dtype=bool)
    if missing.any():
        raise DataError(
            f"y has no label for {missing.sum()} of {len(labels)} sequences; the first is number "
            f"{missing.argmax()} (counted from 0). Label them or remove them."
        )
    if labels.dtype.kind == "O" and len({type(label) for label in labels.tolist()}) > 1:
        return labels.astype(str)  # labels of mixed types cannot be sorted
    return labels


def _names(classes: Array) -> list[str]:
    """The names of the classes in the pipeline, which treats equal numbers as the same label.

    Raises:
        DataError: two classes have the same name.
    """
    names = [whole_label(str(label)) for label in classes.tolist()]
    duplicate = next((name for name in names if names.count(name) > 1), "")
    if duplicate:
        raise DataError(f"y spells the label {duplicate!r} in several ways. Use one spelling.")
    return names
