"""What the tests of several baselines share."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from gatewise.data.sequences import from_arrays
from gatewise.readers.datasets import settings_of


@pytest.fixture
def random():
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def vowels():
    """Train and test of Japanese Vowels: sequences and class positions."""
    data = settings_of("japanese-vowels")["data"]
    return [read_ts(Path(data[key])) for key in ("path", "test")]


def read_ts(path):
    lines = gzip.decompress(path.read_bytes()).decode().strip().splitlines()
    cases = [line.split(":") for line in lines[lines.index("@data") + 1 :]]
    arrays = [np.array([row.split(",") for row in case[:-1]], dtype=float).T for case in cases]
    return from_arrays(arrays), np.array([int(case[-1]) - 1 for case in cases])
