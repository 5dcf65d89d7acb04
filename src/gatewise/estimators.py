"""scikit-learn's way in: `Forecaster` and `Classifier` over the same pipeline.

They hold no test part back; scikit-learn's own splitting does that.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from gatewise import pipeline
from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.prediction import predict
from gatewise.readers.tables import whole_label
from gatewise.settings import Experiment, from_mapping, layer_of


class _Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """What both share: settings by name, the most tuned ones as parameters of their own."""

    def __init__(
        self,
        *,
        units: int | Sequence[int] = (),
        epochs: int = 0,
        batch_size: int = 0,
        learning_rate: float = 0.0,
        dropout: float = 0.0,
        validation: float = 0.1,
        seed: int = 0,
        settings: Mapping[str, Mapping[str, Any]] | str | None = None,
    ) -> None:
        self.units = units
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.validation = validation
        self.seed = seed
        self.settings = settings

    def _experiment(self, task: str) -> Experiment:
        own = {
            "task": {"name": task},
            "split": {"validation": self.validation, "test": 0.0},
            "network": {"units": _listed(self.units), "dropout": self.dropout},
            "training": {
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "seed": self.seed,
            },
        }
        layer = {} if self.settings is None else layer_of(self.settings)
        return from_mapping(layer, from_mapping(own))

    @property
    def model(self) -> Any:
        """The trained keras.Model."""
        check_is_fitted(self, "run_")
        return self.run_.artefact.network


class Classifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """An LSTM that tells the label of a sequence.

    X is an array [sequences, steps] or [sequences, steps, columns], or a list of arrays [steps,
    columns] of unequal lengths; y holds a label for each. `settings` takes the sections of a
    settings file.

    >>> Classifier(units=(32,)).get_params()["units"]
    (32,)
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 (scikit-learn's own name)
        """Train on labelled sequences.

        Raises:
            DataError: X and y differ in length, a label is missing, or there is only one.
        """
        labels = _labels(y)
        count = _length(X, "X", "a sequence in each row")
        if len(labels) != count:
            raise DataError(
                f"X has {count} sequences and y {len(labels)} labels; there must be one each."
            )
        self.classes_, places = np.unique(labels, return_inverse=True)
        names = np.array(_names(self.classes_))
        self.run_ = pipeline.run(self._experiment("classify"), (X, names[places]), folder=None)
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The most probable label of each sequence, [sequences]."""
        chances = self.predict_proba(X)
        return np.asarray(self.classes_[chances.argmax(axis=1)])

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Calibrated probabilities, [sequences, classes] in the order of `classes_`."""
        check_is_fitted(self, "run_")
        found = predict(self.run_.artefact, X)
        return found.select([f"p({name})" for name in _names(self.classes_)]).to_numpy()


class Forecaster(_Estimator):
    """An LSTM that forecasts the next `horizon` steps.

    X is one series [steps] or [steps, columns], or a list of such series; every column is forecast.
    Frames work too, with their columns named in `settings`, as in a settings file.

    >>> Forecaster(epochs=5, settings={"task": {"horizon": 12}}).get_params()["epochs"]
    5
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Train on the past of one or many series; y is not needed.

        Raises:
            DataError: X is none of these, or too short.
        """
        _length(X, "X", "one series, or a list of series")
        experiment = self._experiment("forecast")
        self.run_ = pipeline.run(_all_columns(experiment, X), X, folder=None)
        self.horizon_ = self.run_.artefact.preparation.horizon
        self.past_ = X
        return self

    def predict(self, X: Any = None) -> Array:  # noqa: N803
        """The median forecast behind the last step of X (by default: of what it was fitted on).

        Returns:
            [horizon] for one series of one column, else [series, horizon, columns] without the
            axes of size 1 in front and behind.
        """
        return self.predict_quantiles(X)[..., self._middle()]

    def predict_quantiles(self, X: Any = None) -> Array:  # noqa: N803
        """As `predict`, with one more axis for the quantiles of `settings["task"]["quantiles"]`."""
        found = self._forecast(self.past_ if X is None else X)
        if found.shape[0] == 1:
            found = found[0]
        return found[..., 0, :] if found.shape[-2] == 1 else found

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """Minus the MASE of forecasting the last horizon of each series from what precedes it."""
        from gatewise import metrics

        if hasattr(X, "columns"):
            raise DataError("score wants arrays [steps] or [steps, columns]. Received: a table.")
        _length(X, "X", "one series, or a list of series")
        many = X if isinstance(X, list) else [X]
        series = [np.asarray(one, dtype=np.float64).reshape(len(one), -1) for one in many]
        horizon, season = self.horizon_, self.run_.artefact.preparation.season
        given = self._forecast([one[:-horizon] for one in series])[..., self._middle()]
        truth = np.stack([one[-horizon:] for one in series])  # [series, horizon, columns]
        scale = np.array(
            [
                [[metrics.seasonal_scale(column, season) for column in one[:-horizon].T]]
                for one in series
            ]
        )
        return -metrics.mase(truth, given, scale)

    def _middle(self) -> int:
        levels = self.run_.artefact.preparation.quantiles or (0.5,)
        return int(np.argmin(np.abs(np.array(levels) - 0.5)))

    def _forecast(self, X: Any) -> Array:  # noqa: N803
        """[series, horizon, columns, quantiles]."""
        check_is_fitted(self, "run_")
        preparation = self.run_.artefact.preparation
        rows = predict(self.run_.artefact, X)
        names = [name for name in rows.columns if name == "forecast" or name.startswith("q")]
        shape = (-1, preparation.horizon, len(preparation.targets), len(names))
        return rows.select(names).to_numpy().reshape(shape)


def _listed(units: Any) -> list[Any]:
    """One number for one layer, or one for each."""
    if units is None:
        return []
    return list(units) if np.iterable(units) and not isinstance(units, str) else [units]


def _length(given: Any, name: str, wanted: str) -> int:
    """How many things are given."""
    try:
        return len(given)
    except TypeError:
        raise DataError(f"{name} must hold {wanted}. Received: {given!r}.") from None


def _labels(y: Any) -> Array:
    """The labels, [sequences].

    Raises:
        DataError: they are none, or one is missing.
    """
    _length(y, "y", "a label for each sequence")
    try:
        labels = np.asarray(y)
    except ValueError:
        labels = np.empty((0, 0))
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1:
        raise DataError(
            "y must hold one label for each sequence (for one-hot labels: y.argmax(axis=1)). "
            f"Received shape: {labels.shape}."
        )
    missing = np.array([one is None or one != one for one in labels.tolist()], dtype=bool)
    if missing.any():
        raise DataError(
            f"y has no label for {missing.sum()} of {len(labels)} sequences, the first is number "
            f"{missing.argmax()} (counted from 0). Label them or take them out."
        )
    if labels.dtype.kind == "O" and len({type(one) for one in labels.tolist()}) > 1:
        return labels.astype(str)  # labels of several types have no order
    return labels


def _names(classes: Array) -> list[str]:
    """The classes as the pipeline calls them; equal numbers are one label there.

    Raises:
        DataError: two of them have one name.
    """
    names = [whole_label(str(one)) for one in classes.tolist()]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise DataError(f"y writes the label {twice!r} in several ways. Write it in one.")
    return names


def _all_columns(experiment: Experiment, X: Any) -> Experiment:  # noqa: N803
    """Arrays have no names to choose a target by: every column is one."""
    first = X[0] if isinstance(X, list) and len(X) else X
    if experiment.data.target or not isinstance(first, np.ndarray):
        return experiment
    count = 1 if first.ndim == 1 else first.shape[1]
    if count == 1:
        return experiment
    return experiment.having("data", target=tuple(f"x{number}" for number in range(count)))
