"""gatewise: long short-term memory networks in Keras, from a data file to a trusted, running model.

Importing gatewise imports no framework; the names below bring what they need when they are first
used. Keras runs on JAX where nothing else has been chosen: no KERAS_BACKEND, no Keras config file,
and no framework imported before Keras.
"""

import importlib
from typing import Any

from gatewise.backend import wait_for_keras
from gatewise.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    EngineError,
    GatewiseError,
    TrainingError,
)
from gatewise.settings import Experiment

wait_for_keras()

_WHERE = {
    "Artefact": "gatewise.artefact",
    "Classifier": "gatewise.estimators",
    "Forecaster": "gatewise.estimators",
    "Preparation": "gatewise.data.preparation",
    "Run": "gatewise.pipeline",
    "Sequences": "gatewise.data.sequences",
    "accelerate": "gatewise.engine",
    "accelerated": "gatewise.engine",
    "datasets": "gatewise.readers.datasets",
    "evaluate": "gatewise.prediction",
    "generate": "gatewise.prediction",
    "info": "gatewise.engine",
    "load": "gatewise.artefact",
    "predict": "gatewise.prediction",
    "report": "gatewise.pipeline",
    "set_threads": "gatewise.engine",
    "train": "gatewise.pipeline",
    "why_not": "gatewise.engine",
}

__all__ = [
    "ArtefactError",
    "ConfigError",
    "DataError",
    "EngineError",
    "Experiment",
    "GatewiseError",
    "TrainingError",
    *_WHERE,
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'gatewise' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
