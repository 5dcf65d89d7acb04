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

# It runs the scripts that it is given in one process: one import of a framework.
TOGETHER = "one_after_another.py"
SCRIPTS = [
    *((f"{TOGETHER} binary.py prediction.py", backend) for backend in support.BACKENDS),
    ("mnist_rows.py", "tensorflow"),
]
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def run(scripts, *before, **environment):
    # What is not set here is not chosen: a script that imports TensorFlow runs on TensorFlow.
    inherited = {name: text for name, text in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, *before, *(str(HERE / one) for one in scripts.split())],
        capture_output=True,
        text=True,
        env=inherited | {"PYTHONPATH": str(HERE / "offline"), "EPOCHS": "2"} | environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.mark.parametrize(("scripts", "backend"), SCRIPTS)
def test_a_tutorial_says_the_same_under_gatewise_run(scripts, backend, tmp_path, request):
    if reason := library.why_not():
        pytest.skip(reason)
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    environment = {"KERAS_HOME": str(tmp_path)}
    if scripts == "mnist_rows.py":
        data = request.getfixturevalue("data_folder")
        put_in_place(data, tmp_path, train=1920, test=500)
    else:
        environment["KERAS_BACKEND"] = backend
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
