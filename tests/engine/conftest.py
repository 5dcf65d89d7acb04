"""Fixtures of the tests of the engine.

A process has one Keras, and Keras one backend: the one that KERAS_BACKEND names, or else JAX. The
tests of this folder run on it. `test_backends.py` runs them again on each of the other backends, in
a process of its own, if the framework is installed. To run them on one of these by hand:

    KERAS_BACKEND=torch .venv/bin/python -m pytest tests/engine

It gives these processes a folder in which the backends exchange runs (`exchange.py`).

`test_hook.py` makes the same claims on every backend, with the functions of `framework.py` for each
framework. `test_jax.py`, `test_tensorflow.py` and `test_torch.py` are about one framework. A new
backend needs functions in `framework.py` and a file of its own here.
"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import pytest

from gatewise.engine import support

HERE = Path(__file__).parent
BACKEND = keras.backend.backend()

collect_ignore = [f"test_{name}.py" for name in support.BACKENDS if name != BACKEND]


@pytest.fixture(autouse=True)
def _kernels():
    """Skip the tests where the C++ core is missing."""
    if reason := support.why_not_here():
        pytest.skip(reason)


@pytest.fixture
def x64():
    """Let arrays hold float64, which JAX allows only if it is enabled."""
    if BACKEND != "jax":
        yield
        return
    import jax

    if hasattr(jax, "enable_x64"):
        with jax.enable_x64(True):
            yield
    else:
        from jax.experimental import enable_x64

        with enable_x64():
            yield


@pytest.fixture
def python(tmp_path):
    """Run a fresh Python process in an empty folder."""
    return partial(fresh, tmp_path)


def fresh(folder, *arguments, code="", **environment):
    """Run a fresh Python process and return its standard output; fail with its errors."""
    given = ["-c", code] if code else []
    done = subprocess.run(
        [sys.executable, *given, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        env=os.environ | {"KERAS_BACKEND": BACKEND, "JAX_PLATFORMS": "cpu"} | environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys, traceback
said = []
for script in sys.argv[2:]:
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        try:
            exec(script, {"__name__": "__main__"})
        except Exception:
            traceback.print_exc(file=words)
    said.append(words.getvalue())
print(json.dumps(said))
"""


def one_after_another(folder, scripts, **environment):
    """Run scripts in one fresh process, because the imports take seconds; what each of them prints.

    `sys.argv[1]` is the folder of these tests.
    """
    printed = fresh(folder, HERE, *scripts.values(), code=ONE_AFTER_ANOTHER, **environment)
    return dict(zip(scripts, json.loads(printed), strict=True))
