"""A pytest plugin that runs other people's tests with the engine on and reports what ran.

python -m pytest -p keras_plugin --pyargs keras.src.layers.rnn.lstm_test
"""

import json
import os
from pathlib import Path

import gatewise
from gatewise.engine import support


def pytest_configure(config):
    gatewise.accelerate()
    # These tests are small; here the kernels run also what Keras's own loop is faster at.
    support.better_stock = lambda *_: None
    # What the conftest of Keras's repository has, which the wheel leaves out.
    for marker in ("requires_trainable_backend", "multi_device"):
        config.addinivalue_line("markers", f"{marker}: of Keras's own")


def pytest_sessionfinish(session):
    path = os.environ.get("GATEWISE_CALLS")
    if path:
        Path(path).write_text(json.dumps(gatewise.info()["calls"]), encoding="utf-8")
