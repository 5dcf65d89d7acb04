"""The scikit-learn estimator of the task."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gatewise import pipeline
from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.estimators import Estimator, length_of, value_errors
from gatewise.prediction import predict


class Detector(Estimator):
    """An LSTM that detects anomalous steps, with the methods of scikit-learn's outlier detectors.

    X is one series [steps] or [steps, columns], or a list of such series, whose steps are then
    answered one series after the other. The first `lookback` steps of a series have no score: they
    get NaN, and +1 in `predict`.

    >>> Detector(false_alarms=0.01, epochs=5).get_params()["false_alarms"]
    0.01
    """

    def __init__(
        self,
        *,
        lookback: int = 0,
        false_alarms: float = 0.001,
        units: int | Sequence[int] = (),
        epochs: int = 0,
        batch_size: int = 0,
        learning_rate: float = 0.0,
        dropout: float = 0.0,
        validation: float = 0.1,
        seed: int = 0,
        settings: Mapping[str, Mapping[str, Any]] | str | None = None,
    ) -> None:
        super().__init__(
            units=units,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            dropout=dropout,
            validation=validation,
            seed=seed,
            settings=settings,
        )
        self.lookback = lookback
        self.false_alarms = false_alarms

    @value_errors()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on normal series; y is ignored.

        Raises:
            DataError: X is not a series or a list of series, or a series is too short.
        """
        series = _arrays(self._read(X, fit=True))
        experiment = self._experiment(
            "detect", lookback=self.lookback, false_alarms=self.false_alarms
        )
        self.run_ = pipeline.run(experiment, series, folder=None)
        own = self.run_.artefact.preparation.own
        self.lookback_, self.offset_ = own.lookback, -own.yardstick.threshold
        return self

    @value_errors()
    def score_samples(self, X: Any) -> Array:
        """The negative score of each step, so that lower is more anomalous, [steps]."""
        check_is_fitted(self, "run_")
        series = _arrays(self._read(X))
        table = predict(self.run_.artefact, series, strict=True)
        lengths = [len(one) for one in series]
        ends = np.cumsum(lengths)
        found = np.full(int(ends[-1]), np.nan)
        begins = dict(zip(map(str, range(len(series))), (ends - lengths).tolist(), strict=True))
        first = np.array([begins[name] for name in table["id"].to_list()])
        found[first + table["step"].to_numpy() - 1] = -table["score"].to_numpy()
        return found

    def decision_function(self, X: Any) -> Array:
        """`score_samples` minus `offset_`, the negative threshold: below 0 is an alarm, [steps]."""
        return np.asarray(self.score_samples(X) - self.offset_)

    def predict(self, X: Any) -> Array:
        """-1 for an alarm and +1 for any other step, [steps]."""
        return np.where(self.decision_function(X) < 0, -1, 1)


def _arrays(given: Any) -> list[Array]:
    """The series as a list of arrays [steps, columns]."""
    if hasattr(given, "columns"):
        given = np.asarray(given)
    length_of(given, "X", "one series, or a list of series")
    listed = isinstance(given, list) and len(given) and np.ndim(given[0]) > 0
    series = [np.asarray(one) for one in (given if listed else [np.asarray(given)])]
    if any(one.ndim not in (1, 2) for one in series):
        raise DataError(
            "X must be one series [steps] or [steps, columns], or a list of such series. Received "
            f"arrays with {max(one.ndim for one in series)} axes."
        )
    return [one.reshape(len(one), -1) for one in series]
