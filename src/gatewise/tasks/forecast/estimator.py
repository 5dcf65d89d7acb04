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
from gatewise.readers import arrays
from gatewise.readers.memory import plain
from gatewise.settings import Experiment
from gatewise.tasks.quantiles import middle


class Forecaster(Estimator):
    """An LSTM that forecasts the next `horizon` steps.

    X is one series [steps] or [steps, columns], or a list of such series. Every column is forecast.
    X may also be a data frame; `settings` then names its columns, as in a settings file.

    >>> Forecaster(horizon=12, epochs=5).get_params()["horizon"]
    12
    """

    def __init__(
        self,
        *,
        horizon: int = 0,
        lookback: int = 0,
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
        self.horizon = horizon
        self.lookback = lookback

    @value_errors()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on one or many series; y is ignored.

        Raises:
            DataError: X is not a series or a list of series, or a series is too short.
        """
        series = plain(X)
        length_of(series, "X", "one series, or a list of series")
        experiment = self._task_settings()
        self.run_ = pipeline.run(_all_columns(experiment, series), series, folder=None)
        self.horizon_ = self.run_.artefact.preparation.own.horizon
        self.past_ = series
        return self

    def predict(self, X: Any = None) -> Array:
        """The median forecast after the last step of X (default: the data of `fit`).

        Returns:
            [horizon] for one series of one column, otherwise [series, horizon, columns] without
            a first or last axis of size 1.
        """
        return self.predict_quantiles(X)[..., self._middle()]

    def _task_settings(self) -> Experiment:
        return self._experiment("forecast", horizon=self.horizon, lookback=self.lookback)

    @value_errors()
    def predict_quantiles(self, X: Any = None) -> Array:
        """Like `predict`, with a last axis for the quantiles of `settings["task"]["quantiles"]`."""
        check_is_fitted(self, "run_")
        forecasts = self._forecast(self.past_ if X is None else X)
        if forecasts.shape[0] == 1:
            forecasts = forecasts[0]
        return forecasts[..., 0, :] if forecasts.shape[-2] == 1 else forecasts

    @value_errors()
    def score(self, X: Any, y: Any = None) -> float:
        """The negative MASE of forecasts of each series' last horizon from its earlier steps.

        Raises:
            DataError: X is not a series or a list of series, a series is shorter than lookback and
                horizon, or its last horizon has an empty cell.
        """
        from gatewise import metrics

        given = plain(X)
        if hasattr(given, "columns"):
            raise DataError("score needs arrays [steps] or [steps, columns]. Received: a table.")
        length_of(given, "X", "one series, or a list of series")
        check_is_fitted(self, "run_")
        own = self.run_.artefact.preparation.own
        horizon, season = own.horizon, own.season
        series = [one.astype(np.float64) for one in arrays.of(given, one_series=True).sequences]
        for place, one in enumerate(series):
            if len(one) < own.lookback + horizon:
                raise DataError(
                    f"score needs lookback and horizon, {own.lookback} + {horizon} steps. Series "
                    f"{place} has {len(one)}."
                )
            if np.isnan(one[-horizon:]).any():
                raise DataError(
                    f"score compares forecasts with the last {horizon} steps. In series {place}, "
                    "one of them is empty."
                )
        forecasts = self._forecast([one[:-horizon] for one in series])[..., self._middle()]
        truth = np.stack([one[-horizon:] for one in series])  # [series, horizon, columns]
        scale = np.array(
            [
                [[metrics.seasonal_scale(column, season) for column in one[:-horizon].T]]
                for one in series
            ]
        )
        return -metrics.mase(truth, forecasts, scale)

    def _middle(self) -> int:
        return middle(self.run_.artefact.preparation.own.quantiles)

    def _forecast(self, X: Any) -> Array:
        """The forecasts of all quantiles, [series, horizon, columns, quantiles]."""
        check_is_fitted(self, "run_")
        fitted = self.run_.artefact.preparation.own
        rows = predict(self.run_.artefact, X)
        names = [name for name in rows.columns if name == "forecast" or name.startswith("q")]
        shape = (-1, fitted.horizon, len(fitted.targets), len(names))
        return rows.select(names).to_numpy().reshape(shape)


def _all_columns(experiment: Experiment, X: Any) -> Experiment:
    """Make every column a target, because arrays have no column names to choose from.

    An array [series, steps, columns] holds several series.
    """
    first = X[0] if isinstance(X, list) and len(X) else X
    if experiment.data.target or not isinstance(first, np.ndarray):
        return experiment
    count = 1 if first.ndim == 1 else first.shape[-1]
    if count == 1:
        return experiment
    return experiment.having("data", target=tuple(f"x{number}" for number in range(count)))
