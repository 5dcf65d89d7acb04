"""gatewise: long short-term memory networks in Keras, from a data file to a trusted, running model.

Importing gatewise imports no framework; the names below bring what they need when they are first
used. Without KERAS_BACKEND and without a Keras config file, Keras runs on JAX.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from gatewise.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    EngineError,
    GatewiseError,
    TrainingError,
)
from gatewise.experiment import Experiment

# What Keras writes into its config file by itself, whatever backend runs.
_UNTOUCHED = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def _backend_is_chosen() -> bool:
    """Whether the user has named a backend, by KERAS_BACKEND or in Keras's config file.

    Keras writes that file on its first import; one with nothing but its defaults is nobody's
    choice.
    """
    if os.environ.get("KERAS_BACKEND"):
        return True
    try:
        config = json.loads((_keras_folder() / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: this user has no home
        return False
    return isinstance(config, dict) and "backend" in config and config != _UNTOUCHED


def _keras_folder() -> Path:
    """Where Keras looks for its config file."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"


if "keras" not in sys.modules and not _backend_is_chosen():
    os.environ["KERAS_BACKEND"] = "jax"

_WHERE = {
    "Artefact": "gatewise.artefact",
    "Classifier": "gatewise.estimators",
    "Forecaster": "gatewise.estimators",
    "Preparation": "gatewise.data.preparation",
    "Run": "gatewise.pipeline",
    "Sequences": "gatewise.data.sequences",
    "accelerate": "gatewise.engine",
    "accelerated": "gatewise.engine",
    "datasets": "gatewise.data.datasets",
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
