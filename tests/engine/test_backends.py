"""Run the tests of what a backend changes on the backends that this process does not use."""

import os
import subprocess
import sys
from importlib.util import find_spec

import exchange
import pytest
from conftest import BACKEND, HERE

from gatewise.engine import support

OTHERS = [name for name in support.BACKENDS if name != BACKEND]
# Keras's loops differ in what they output before the first unmasked step.
LOOPS = HERE.parent / "runtime/test_operations.py::test_an_operation_gives_what_keras_gives"
HOW = {"torch": '"torch==2.13.0"', "tensorflow": "tensorflow-cpu", "jax": "jax"}  # to install it


@pytest.mark.skipif(BACKEND != "jax", reason="the tests on JAX start those on the others")
@pytest.mark.parametrize("name", OTHERS)
def test_the_engine_passes_its_tests_on_another_backend(name, forecast_run, series_file, tmp_path):
    """A run that is trained on one of them answers alike on the other, too."""
    if not find_spec(name):
        pytest.skip(f"{name} is not installed: pip install {HOW[name]}")
    exchange.leave(tmp_path / BACKEND, forecast_run, series_file)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider"),
            *(
                str(HERE / f"test_{one}.py")
                for one in ("hook", "contract", "toolkit", "exports", name)
            ),
            str(HERE.parent / "tasks" / "tag" / "test_crf.py"),
            *(f"{LOOPS}[from state{rest}]" for rest in ("", ", last")),
        ],
        capture_output=True,
        text=True,
        env={key: os.environ[key] for key in os.environ if not key.startswith(("PYTEST_", "XLA_"))}
        | {"KERAS_BACKEND": name, "GATEWISE_EXCHANGE": str(tmp_path)},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    exchange.assert_answers_alike(tmp_path / name)
