"""Keep Keras from importing a TensorFlow that it does not run on.

Some functions of Keras check on any backend whether TensorFlow is installed, by importing it. Where
it is installed beside another framework, that takes seconds and has no use.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import keras


@contextmanager
def without_tensorflow(function: Callable[..., Any]) -> Iterator[None]:
    """Let the module of a function of Keras find no TensorFlow, unless it is in use."""
    known: dict[str, Any] = getattr(function, "__globals__", {})
    tensorflow = known.get("tf")
    if keras.backend.backend() != "tensorflow" and "tensorflow" not in sys.modules:
        known["tf"] = SimpleNamespace(available=False)
    try:
        yield
    finally:
        known["tf"] = tensorflow
