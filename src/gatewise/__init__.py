"""gatewise: long short-term memory networks in Keras, from a data file to a trusted model.

Importing gatewise imports no framework. Each name below imports its module on first use. Keras runs
on JAX unless something else chooses its backend: KERAS_BACKEND, the Keras config file, or a
framework that is imported before Keras.
"""

import importlib
from typing import Any

import gatewise.shell.early  # noqa: F401 - first, because it also acts on Ctrl-C during imports
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

_MODULES = {
    "Artefact": "gatewise.runs.artefact",
    "Classifier": "gatewise.estimators",
    "Detector": "gatewise.estimators",
    "Forecaster": "gatewise.estimators",
    "Preparation": "gatewise.data.preparation",
    "Regressor": "gatewise.estimators",
    "Run": "gatewise.runs.finished",
    "Sequences": "gatewise.data.sequences",
    "Stream": "gatewise.streaming",
    "accelerate": "gatewise.engine",
    "accelerated": "gatewise.engine",
    "compare": "gatewise.runs.comparison",
    "curve": "gatewise.curves.curve",
    "datasets": "gatewise.readers.datasets",
    "evaluate": "gatewise.prediction",
    "export": "gatewise.exporting.export",
    "generate": "gatewise.prediction",
    "info": "gatewise.engine",
    "load": "gatewise.runs.artefact",
    "inspect": "gatewise.inspection.run",
    "look": "gatewise.shell.overview",
    "predict": "gatewise.prediction",
    "report": "gatewise.runs.finished",
    "serve": "gatewise.serving",
    "set_threads": "gatewise.engine",
    "train": "gatewise.pipeline",
    "tune": "gatewise.tuning.search",
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
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("gatewise")
    if name not in _MODULES:
        raise AttributeError(f"module 'gatewise' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
