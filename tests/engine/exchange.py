"""Runs that one backend leaves in a folder for another, with the answers that they give on it."""

import shutil

import numpy as np
import polars as pl

import gatewise


def leave(folder, run, data):
    shutil.copytree(run, folder / "run")
    shutil.copy(data, folder / "data.csv")
    answers(folder).write_csv(folder / "answers.csv")


def answers(folder):
    """The answers of the Keras model, because a folder alone is answered without Keras."""
    return gatewise.predict(gatewise.load(folder / "run"), folder / "data.csv")


def assert_answers_alike(folder):
    found, expected = answers(folder), pl.read_csv(folder / "answers.csv")
    numbers = [name for name in found.columns if found[name].dtype.is_float()]
    assert numbers and len(found)
    for name in numbers:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
