"""The scikit-learn estimator of the task."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from gatewise import pipeline
from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.estimators import Estimator, length_of
from gatewise.prediction import predict
from gatewise.tasks.quantiles import middle


class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]  # scikit-learn is untyped
    """An LSTM that predicts a number, or several, for a sequence.

    X is an array [sequences, steps] or [sequences, steps, columns], a list of arrays [steps,
    columns] of different lengths, or a list of texts. y is [sequences] or [sequences, targets]. For
    a number at each step, y is a list of arrays [steps] or [steps, targets]. `settings` takes the
    sections of a settings file.

    >>> Regressor(units=(32,)).get_params()["units"]
    (32,)
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on sequences and their numbers.

        Raises:
            DataError: X and y differ in length, a number is missing, or all of them are the same.
        """
        count = length_of(X, "X", "a sequence in each row")
        numbers = length_of(y, "y", "a number for each sequence")
        if numbers != count:
            raise DataError(
                f"X has {count} sequences, but y has {numbers} numbers. Give one for each sequence."
            )
        targets = y if _per_step(y) else _as_array(y)
        each = targets[0] if isinstance(targets, list) else targets
        self.several_ = np.ndim(each) > 1  # y has an axis for the targets
        self.run_ = pipeline.run(self._experiment("regress"), (X, targets), folder=None)
        return self

    def predict(self, X: Any) -> Any:
        """The median of each number: [sequences] or [sequences, targets], as y was.

        For numbers at each step, a list of such arrays, one for each sequence.
        """
        levels = self.run_.artefact.preparation.own.quantiles if hasattr(self, "run_") else ()
        quantiles = self.predict_quantiles(X)
        if isinstance(quantiles, list):
            return [one[..., middle(levels)] for one in quantiles]
        return quantiles[..., middle(levels)]

    def predict_quantiles(self, X: Any) -> Any:
        """Like `predict`, with a last axis for the quantiles of `settings["task"]["quantiles"]`."""
        check_is_fitted(self, "run_")
        fitted = self.run_.artefact.preparation.own
        rows = predict(self.run_.artefact, X)
        names = [name for name in rows.columns if name == "prediction" or name.startswith("q")]
        numbers: Array = rows.select(names).to_numpy()
        numbers = numbers.reshape(-1, len(fitted.targets), len(names))
        numbers = numbers if self.several_ else numbers[:, 0]
        if fitted.per == "sequence":
            return numbers
        lengths = [len(one) for one in X]
        return np.split(numbers, np.cumsum(lengths)[:-1])


def _per_step(y: Any) -> bool:
    return isinstance(y, list) and all(np.ndim(one) > 0 for one in y) and len(y) > 0


def _as_array(y: Any) -> Array:
    """The numbers as an array.

    Raises:
        DataError: y holds something else.
    """
    try:
        return np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            "y must hold numbers, [sequences] or [sequences, targets]. For labels, use Classifier."
        ) from None
