"""Load a Keras model without drawing its first weights, which those of the file replace.

JAX compiles a program for each shape that is drawn, which takes most of the time of loading.
"""

import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gatewise.runtime.graph import DAMAGED

DRAWING = ("VarianceScaling", "RandomNormal", "RandomUniform", "TruncatedNormal", "Orthogonal")
KNOWN = ("keras", "gatewise")  # packages whose layers build nothing from their first weights

_one_at_a_time = threading.Lock()


def load_model(path: Path) -> keras.Model:
    """The model in a .keras file, without optimizer and loss, as `keras.saving` loads it."""
    if keras.backend.backend() == "jax" and _packages(path) <= {*KNOWN}:
        with _undrawn():
            model = _loaded(path)
        if not _has_nan(model):
            return model
    return _loaded(path)


def _loaded(path: Path) -> keras.Model:
    model: keras.Model = keras.saving.load_model(path, compile=False, safe_mode=True)
    return model


def _packages(path: Path) -> set[str]:
    """The packages of all classes and functions in the model; {""} for a damaged file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return set(_named(json.loads(archive.read("config.json"))))
    except DAMAGED:
        return {""}  # Keras says what is wrong


def _named(config: Any) -> Iterator[str]:
    if isinstance(config, list):
        for one in config:
            yield from _named(one)
    if isinstance(config, dict):
        if config.get("module") is not None:
            yield str(config["module"]).partition(".")[0]
        elif config.get("registered_name") is not None:
            yield ""
        for one in config.values():
            yield from _named(one)


@contextmanager
def _undrawn() -> Iterator[None]:
    """Let the random initializers of Keras return NaN in this thread, and other threads draw."""
    thread = threading.get_ident()
    kinds = [getattr(keras.initializers, name) for name in DRAWING]

    def undrawn(draw: Any) -> Any:
        def call(self: Any, shape: Any, dtype: Any = None) -> Any:
            if threading.get_ident() != thread:
                return draw(self, shape, dtype=dtype)
            return np.full(shape, np.nan, np.float32)

        return call

    with _one_at_a_time:
        drawing = [kind.__call__ for kind in kinds]
        for kind, draw in zip(kinds, drawing, strict=True):
            kind.__call__ = undrawn(draw)
        try:
            yield
        finally:
            for kind, draw in zip(kinds, drawing, strict=True):
                kind.__call__ = draw


def _has_nan(model: keras.Model) -> bool:
    """Whether a weight is not in the file, or is NaN there."""
    weights = (keras.ops.convert_to_numpy(one.value) for one in model.variables)
    return any(bool(np.isnan(one.astype(np.float32)).any()) for one in weights)
