"""scikit-learn's way in: what the estimators of the tasks share, over the same pipeline.

They hold no test part back; scikit-learn's own splitting does that. Each estimator stands in
`estimator.py` of its task, and is found here by its name.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from gatewise.errors import DataError
from gatewise.settings import Experiment, from_mapping, layer_of
from gatewise.tasks import TASKS


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """What all share: settings by name, the most tuned ones as parameters of their own."""

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


def __getattr__(name: str) -> Any:
    """The estimator of this name, which its task imports on first use."""
    for task in TASKS.values():
        if task.estimator == name:
            return getattr(importlib.import_module(f"gatewise.tasks.{task.name}.estimator"), name)
    raise AttributeError(f"module 'gatewise.estimators' has no attribute '{name}'")


def _listed(units: Any) -> list[Any]:
    """One number for one layer, or one for each."""
    if units is None:
        return []
    return list(units) if np.iterable(units) and not isinstance(units, str) else [units]


def length_of(given: Any, name: str, wanted: str) -> int:
    """How many things are given."""
    try:
        return len(given)
    except TypeError:
        raise DataError(f"{name} must hold {wanted}. Received: {given!r}.") from None
