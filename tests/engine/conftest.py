"""What the tests of the engine share.

A process has one Keras, and Keras one backend: the one that KERAS_BACKEND names, or else JAX. The
tests of this folder run on that one. `test_backends.py` runs them once more for each of the others,
in a process of its own; where the framework is not installed, it skips.

    KERAS_BACKEND=torch .venv/bin/python -m pytest tests/engine

`test_hook.py` holds for every backend: what it asks of the framework itself stands in
`framework.py`, a few functions for each. `test_jax.py`, `test_torch.py` and so on hold what only
that framework can do. A new backend is one entry in `framework.py` and a file of its own here.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from gatewise.engine import support

HERE = Path(__file__).parent
BACKEND = keras.backend.backend()

collect_ignore = [f"test_{name}.py" for name in support.BACKENDS if name != BACKEND]


@pytest.fixture(autouse=True)
def _kernels():
    """The C++ core; a machine without a compiler skips its tests."""
    if reason := support.why_not_here():
        pytest.skip(reason)


@pytest.fixture
def x64():
    """Let arrays hold float64, which JAX must be told."""
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
    """Run a fresh Python process and return its standard output; fail with its errors."""

    def run(*arguments, code="", **environment):
        given = ["-c", code] if code else []
        done = subprocess.run(
            [sys.executable, *given, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
            env=os.environ | {"KERAS_BACKEND": BACKEND, "JAX_PLATFORMS": "cpu"} | environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    return run
