"""Weight dropout against its definition, and the model that is saved after it."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from gatewise import engine
from gatewise.engine.reference import lstm
from gatewise.networks.dropping import WeightDropLSTM
from gatewise.runs.artefact import plain


def model_of(layer):
    inputs = keras.Input((5, 2))
    return keras.Model(inputs, layer(inputs))


def test_training_drops_single_recurrent_weights_and_scales_the_others(random):
    layer = WeightDropLSTM(1, weight_dropout=0.5)
    model = model_of(layer)
    x = random.normal(size=(2, 5, 2)).astype(np.float32)
    kernel, recurrent, bias = layer.get_weights()
    zero = np.zeros((2, 1))
    masks = [np.array(mask) / 0.5 for mask in itertools.product([0, 1], repeat=4)]
    possible = np.stack([lstm(x, zero, zero, kernel, recurrent * m, bias)[1] for m in masks])
    drawn = set()
    for _ in range(8):
        outputs = keras.ops.convert_to_numpy(model(x, training=True))
        distance = np.abs(possible - outputs).max(axis=(1, 2))
        assert distance.min() < 1e-6  # one mask for all steps and for both sequences
        drawn.add(int(distance.argmin()))
    assert len(drawn) > 1  # another mask for another batch
    np.testing.assert_array_equal(layer.get_weights()[1], recurrent)


def test_the_weights_learn_through_the_masks_and_the_kernels_run(random):
    model = model_of(WeightDropLSTM(3, weight_dropout=0.3, recurrent_dropout=0.1))
    assert engine.why_not(model) is None
    before = model.get_weights()[1]
    model.compile("sgd", "mse")
    x = random.normal(size=(8, 5, 2)).astype(np.float32)
    model.fit(x, np.ones((8, 3)), epochs=2, verbose=0)
    assert np.isfinite(model.get_weights()[1]).all() and (model.get_weights()[1] != before).any()


@pytest.mark.parametrize("both", [False, True])
def test_the_saved_model_has_only_layers_of_keras(both, random, tmp_path):
    layer = WeightDropLSTM(3, weight_dropout=0.3)
    model = model_of(layers.Bidirectional(layer) if both else layer)
    x = random.normal(size=(2, 5, 2)).astype(np.float32)
    expected = model.predict(x, verbose=0)
    for _ in range(2):  # saving does not change the model
        plain(model).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    kinds = {type(one).__module__.split(".")[0] for one in loaded._flatten_layers()}
    assert kinds == {"keras"}
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-6)


def test_training_goes_on_with_weight_dropout_after_saving(random):
    model = model_of(layers.Bidirectional(WeightDropLSTM(3, weight_dropout=0.5)))
    model.compile("sgd", "mse")
    x = random.normal(size=(8, 5, 2)).astype(np.float32)
    copy = plain(model)
    model.fit(x, np.ones((8, 6)), verbose=0)
    assert (copy.get_weights()[0] != model.get_weights()[0]).any()
    answers = [keras.ops.convert_to_numpy(model(x, training=True)) for _ in range(2)]
    assert (answers[0] != answers[1]).any()  # other weights are dropped
