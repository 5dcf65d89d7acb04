"""Loading a model: the numbers of Keras, without drawing weights that the file replaces."""

import keras
import numpy as np
import pytest

from gatewise.networks.loading import load_model
from gatewise.networks.variants import VariantLSTM, VariantLSTMCell


@keras.saving.register_keras_serializable("loading")
class Projection(keras.layers.Layer):
    """A random projection that no file holds, because a seed determines it."""

    def build(self, shape):
        self.random = self.add_weight(
            name="random",
            shape=(shape[-1], 2),
            initializer=keras.initializers.Orthogonal(seed=3),
            trainable=False,
        )

    def call(self, x):
        return x @ self.random

    def save_own_variables(self, store):
        """Nothing."""

    def load_own_variables(self, store):
        """Nothing."""


def saved(path, *layers):
    keras.Sequential([keras.Input((4, 3)), *layers]).save(path)
    return path


def check(path):
    """Compare with Keras, which gives unseeded generators, in no file, the same seeds."""
    keras.utils.set_random_seed(1)
    ours = load_model(path)
    keras.utils.set_random_seed(1)
    theirs = keras.saving.load_model(path)
    assert ours.get_config() == theirs.get_config()
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        assert (one.name, one.dtype, one.trainable) == (other.name, other.dtype, other.trainable)
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_weights_and_configuration_are_those_that_keras_loads(tmp_path):
    norm = keras.layers.SpectralNormalization(keras.layers.Dense(3))
    cell = VariantLSTMCell(4, zoneout=0.1, bias_initializer="random_uniform")
    lstm = VariantLSTM(cell, return_sequences=True)
    last = keras.layers.Bidirectional(keras.layers.LSTM(2, dropout=0.1))
    path = saved(tmp_path / "a.keras", norm, keras.layers.Dropout(0.1, seed=5), lstm, last)
    check(path)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends compile no draws")
def test_no_weight_is_drawn(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.keras", keras.layers.LSTM(2), keras.layers.Dense(1))

    def draw(*args, **options):
        raise AssertionError("a weight is drawn")

    for kind in (keras.initializers.Orthogonal, keras.initializers.VarianceScaling):
        monkeypatch.setattr(kind, "__call__", draw)
    load_model(path)


@pytest.mark.parametrize("module", ["tests", "gatewise.tests"])
def test_weights_that_are_not_in_the_file_are_drawn(tmp_path, monkeypatch, module):
    monkeypatch.setattr(Projection, "__module__", module)
    path = saved(tmp_path / "a.keras", Projection())
    check(path)
    assert np.isfinite(load_model(path).layers[0].random.numpy()).all()
