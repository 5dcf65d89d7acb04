"""The base of the scikit-learn estimators, which run the same pipeline as `gatewise.train`.

They hold out no test part, because scikit-learn does its own splitting. Each estimator is in
`estimator.py` of its task and is found here by its name.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import narwhals as nw
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from gatewise.errors import ConfigError, DataError, GatewiseError
from gatewise.readers.memory import names_of, plain
from gatewise.settings import Experiment, from_mapping, layer_of
from gatewise.tasks import TASKS


class InputError(DataError, ValueError):
    """A DataError that is also the ValueError which scikit-learn expects."""


class ParameterError(ConfigError, ValueError):
    """A ConfigError that is also the ValueError which scikit-learn expects."""


@contextmanager
def value_errors() -> Iterator[None]:
    """Raise the errors of gatewise as the ValueErrors that scikit-learn expects."""
    try:
        yield
    except GatewiseError as error:
        if isinstance(error, ValueError):
            raise
        message = str(error)
        if "--set " in message or "--target " in message:
            message += (
                ' In Python, `--set data.missing=zero` is settings={"data": {"missing": "zero"}}, '
                "and `--target` is data.target."
            )
        if isinstance(error, DataError):
            raise InputError(message) from error
        if isinstance(error, ConfigError):
            raise ParameterError(message) from error
        raise


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """The common base: settings by name, with parameters for those that are tuned most often.

    A parameter that is 0 or empty is chosen by gatewise, as in a settings file.
    """

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

    def _experiment(self, task: str, **own: Any) -> Experiment:
        """The settings of the parameters; `own` are those of `[task]` that only this task has."""
        parameters = {
            "task": {"name": task, **own},
            "split": {"validation": self.validation, "test": 0.0},
            "network": {"units": _as_list(self.units), "dropout": self.dropout},
            "training": {
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "seed": self.seed,
            },
        }
        layer = {} if self.settings is None else layer_of(self.settings)
        experiment = from_mapping(layer, from_mapping(parameters))
        if experiment.task.name != task:
            raise ParameterError(
                f"{type(self).__name__} trains the task {task}, but its settings name the task "
                f"{experiment.task.name}. Leave out task.name, or use gatewise.train."
            )
        return experiment

    def _read(self, given: Any, *, fit: bool = False) -> Any:
        """X in a form that the readers know; tables have the columns of `fit`, in their order.

        Raises:
            DataError: X comes in a form that cannot be read.
            ValueError: the columns of a table, or of the tables of a list, differ from those of
                `fit`; scikit-learn's own error.
        """
        data = plain(given)
        table = data[0] if names_of(data) else given
        validate_data(self, table, reset=fit, skip_check_array=True, ensure_2d=False)
        return data

    @property
    def model(self) -> Any:
        """The trained keras.Model."""
        check_is_fitted(self, "run_")
        return self.run_.artefact.network


def __getattr__(name: str) -> Any:
    """The estimator of this name, which its task imports on first use."""
    for task in TASKS.values():
        if task.estimator == name:
            return getattr(importlib.import_module(f"gatewise.tasks.{task.name}.estimator"), name)
    raise AttributeError(f"module 'gatewise.estimators' has no attribute '{name}'")


def _as_list(units: Any) -> list[Any]:
    """Units as a list; a single number is one layer."""
    if units is None:
        return []
    return list(units) if np.iterable(units) and not isinstance(units, str) else [units]


def rows_of(data: Any) -> Any:
    """The rows of a table as sequences, its columns as their steps; everything else unchanged.

    Raises:
        DataError: the table holds other cells than numbers.
    """
    if nw.dependencies.is_into_dataframe(data):
        return plain(nw.from_native(data, eager_only=True).to_numpy())
    return data


def length_of(data: Any, name: str, wanted: str) -> int:
    """The length of the data.

    Raises:
        DataError: they have none.
    """
    try:
        return len(data)
    except TypeError:
        raise DataError(f"{name} must hold {wanted}. Received: {data!r}.") from None
