"""The scripts of this folder say the same under `gatewise run`, on every backend they name.

benchmarks/tutorials.py runs them in full and compares their times.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from mnist import put_in_place

from gatewise.engine import library, support

HERE = Path(__file__).parent

# The first script runs the others in one process: one import of a framework.
SCRIPTS = ("one_after_another.py", "binary.py", "prediction.py")
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def run(scripts, *before, **environment):
    done = subprocess.run(
        [sys.executable, *before, *(str(HERE / one) for one in scripts)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HERE / "offline"), "EPOCHS": "2"} | environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.mark.parametrize("backend", support.BACKENDS)
def test_a_tutorial_says_the_same_under_gatewise_run(backend, tmp_path):
    if reason := library.why_not():
        pytest.skip(reason)
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    environment = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": backend}
    scripts = SCRIPTS
    if backend == "tensorflow" and (data := os.environ.get("GATEWISE_DATA")):
        put_in_place(Path(data), tmp_path, train=1920, test=500)
        scripts = (*SCRIPTS, "mnist_rows.py")
    plain = run(scripts, **environment)
    ours = run(scripts, "-m", "gatewise", "run", **environment)
    assert "Stock Keras runs" not in ours.stderr, ours.stderr
    lines = [
        [line for line in done.stdout.splitlines() if not line.startswith("seconds")]
        for done in (plain, ours)
    ]
    for one, two in zip(*lines, strict=True):
        assert NUMBER.sub("", one) == NUMBER.sub("", two)
        found, expected = ([float(n) for n in NUMBER.findall(line)] for line in (two, one))
        assert found == pytest.approx(expected, rel=2e-3, abs=2e-4), one
