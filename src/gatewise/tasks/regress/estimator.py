"""The scikit-learn estimator of the task."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from gatewise import pipeline
from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.estimators import Estimator, length_of, rows_of, value_errors
from gatewise.prediction import predict
from gatewise.readers.memory import plain
from gatewise.tasks.quantiles import middle


class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]  # scikit-learn is untyped
    """An LSTM that predicts a number, or several, for a sequence.

    X is an array [sequences, steps] or [sequences, steps, columns], a table with a row for each
    sequence, a list of arrays [steps, columns] of different lengths, or a list of texts. y is
    [sequences] or [sequences, targets]. For a number at each step, y is a list of arrays [steps] or
    [steps, targets]. `settings` takes the sections of a settings file.

    >>> Regressor(units=(32,)).get_params()["units"]
    (32,)
    """

    def __sklearn_tags__(self) -> Any:
        """The tags of scikit-learn: y may have several columns."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @value_errors()
    def fit(self, X: Any, y: Any) -> Self:
        """Train on sequences and their numbers.

        Raises:
            DataError: X and y differ in length, a number is missing, or all of them are the same.
        """
        sequences, numbers = rows_of(self._read(X, fit=True)), plain(y)
        count = length_of(sequences, "X", "a sequence in each row")
        given = length_of(numbers, "y", "a number for each sequence")
        if given != count:
            raise DataError(
                f"X has {count} sequences, but y has {given} numbers. Give one for each sequence."
            )
        targets = numbers if _per_step(numbers) else _as_array(numbers)
        self.run_ = pipeline.run(self._experiment("regress"), (sequences, targets), folder=None)
        per_step = self.run_.artefact.preparation.own.per == "step"
        self.several_ = np.ndim(targets[0]) > per_step  # y has an axis for the targets
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

    @value_errors()
    def predict_quantiles(self, X: Any) -> Any:
        """Like `predict`, with a last axis for the quantiles of `settings["task"]["quantiles"]`."""
        check_is_fitted(self, "run_")
        sequences = rows_of(self._read(X))
        fitted = self.run_.artefact.preparation.own
        rows = predict(self.run_.artefact, sequences)
        names = [name for name in rows.columns if name == "prediction" or name.startswith("q")]
        numbers: Array = rows.select(names).to_numpy()
        numbers = numbers.reshape(-1, len(fitted.targets), len(names))
        numbers = numbers if self.several_ else numbers[:, 0]
        if fitted.per == "sequence":
            return numbers
        lengths = [len(one) for one in sequences]
        return np.split(numbers, np.cumsum(lengths)[:-1])


def _per_step(y: Any) -> bool:
    return isinstance(y, list) and all(np.ndim(one) > 0 for one in y) and len(y) > 0


def _as_array(y: Any) -> Array:
    """The numbers as an array.

    Raises:
        DataError: y holds something else.
    """
    try:
        if np.asarray(y).dtype.kind in "cMm":  # would lose the imaginary part, or the unit
            raise TypeError
        return np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            "y must hold numbers, [sequences] or [sequences, targets]. For labels, use Classifier."
        ) from None
