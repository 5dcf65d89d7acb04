"""What the tests of the engine share."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from gatewise.engine import jax as engine

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _kernels():
    """The C++ core, which a machine without a compiler does without."""
    if reason := engine.why_not():
        pytest.skip(reason)


@pytest.fixture
def x64():
    """Arrays may hold float64."""
    if hasattr(jax, "enable_x64"):
        with jax.enable_x64(True):
            yield
    else:
        from jax.experimental import enable_x64

        with enable_x64():
            yield


@pytest.fixture
def python(tmp_path):
    """A fresh Python process: its standard output, or its words of complaint."""

    def run(*arguments, code="", **environment):
        given = ["-c", code] if code else []
        done = subprocess.run(
            [sys.executable, *given, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=600,
            env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"} | environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    return run
