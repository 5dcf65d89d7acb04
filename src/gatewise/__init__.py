"""gatewise: long short-term memory networks in Keras, from a data file to a trusted, running model.

Importing gatewise imports no framework; the names below bring what they need when they are first
used. Without KERAS_BACKEND and without a Keras config file, Keras runs on JAX.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any

from gatewise.errors import ArtefactError, ConfigError, DataError, GatewiseError, TrainingError
from gatewise.experiment import Experiment


def _chosen_backend() -> str | None:
    """The backend that the user has chosen, by KERAS_BACKEND or in Keras's config file; None: no choice.

    Keras writes its config file by itself on first import, naming TensorFlow whatever runs: a file
    with nothing but those defaults is nobody's choice.
    """
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        config = json.loads((home / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    untouched = {
        "floatx": "float32",
        "epsilon": 1e-07,
        "backend": "tensorflow",
        "image_data_format": "channels_last",
    }
    return None if config == untouched else config.get("backend")


if _chosen_backend() is None:
    os.environ["KERAS_BACKEND"] = "jax"

_WHERE = {
    "Artefact": "gatewise.artefact",
    "Classifier": "gatewise.estimators",
    "Forecaster": "gatewise.estimators",
    "Preparation": "gatewise.data.preparation",
    "Run": "gatewise.pipeline",
    "Sequences": "gatewise.data.sequences",
    "datasets": "gatewise.data.datasets",
    "evaluate": "gatewise.prediction",
    "load": "gatewise.artefact",
    "predict": "gatewise.prediction",
    "report": "gatewise.pipeline",
    "train": "gatewise.pipeline",
}

__all__ = [
    "ArtefactError",
    "ConfigError",
    "DataError",
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
