"""MNIST from the data folder, in the place where Keras looks for it."""

import gzip
from pathlib import Path

import numpy as np


def read(path: Path) -> np.ndarray:
    """An array in the format of MNIST's own files."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def put_in_place(data: Path, home: Path, train: int | None = None, test: int | None = None) -> None:
    """Write datasets/mnist.npz under a KERAS_HOME, with so many images of each part, or all."""
    arrays = {
        f"{letter}_{part}": read(data / "mnist" / f"{prefix}-{kind}-ubyte.gz")[:count]
        for part, prefix, count in (("train", "train", train), ("test", "t10k", test))
        for letter, kind in (("x", "images-idx3"), ("y", "labels-idx1"))
    }
    (home / "datasets").mkdir(parents=True)
    np.savez(home / "datasets" / "mnist.npz", **arrays)
