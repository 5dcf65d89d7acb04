"""A pytest plugin that turns the engine on, and writes how many calls ran natively.

GATEWISE_CALLS=calls.json python -m pytest -p keras_plugin --pyargs keras.src.layers.core
"""

import json
import os
from pathlib import Path

import gatewise
from gatewise.engine import hook, support


def pytest_configure(config):
    gatewise.accelerate()
    hook.calls.update(native=0, stock=0)
    # These tests are so small that Keras's own loop is faster. Run the kernels all the same.
    support.better_stock = lambda *_: None
    # The markers of Keras's conftest.py, which its wheel leaves out.
    for marker in ("requires_trainable_backend", "multi_device"):
        config.addinivalue_line("markers", f"{marker}: of Keras's own")


def pytest_sessionfinish(session):
    path = os.environ.get("GATEWISE_CALLS")
    if path:
        Path(path).write_text(json.dumps(gatewise.info()["calls"]), encoding="utf-8")
