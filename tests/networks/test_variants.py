"""Zone-out and layer normalization inside the cell against their definitions in float64."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import gatewise
from gatewise import engine
from gatewise.errors import ConfigError
from gatewise.networks.variants import EPSILON, VariantLSTM, VariantLSTMCell

UNITS, FEATURES = 3, 2
KINDS = {
    "zoneout": {"zoneout": 0.3},
    "normalized": {"normalized": True},
    "both": {"zoneout": 0.3, "normalized": True},
}


def layer_of(kind, *, weight_dropout=0.0, sequences=True, cell=None, **options):
    inside = VariantLSTMCell(UNITS, **KINDS[kind], **(cell or {}))
    return VariantLSTM(inside, weight_dropout, return_sequences=sequences, **options)


def model_of(layer, random):
    """A model with random weights, so that gains and offsets differ from 1 and 0."""
    inputs = keras.Input((None, FEATURES))
    mask = keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    model.set_weights([random.normal(size=one.shape) for one in model.get_weights()])
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalized(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)


def defined(x, mask, weights, *, zoneout=0.0, normalized_cell=False, kept=None):
    """h and c [2, batch, steps, units] by the equations of both papers, in float64.

    `kept` [2, batch, steps, units] holds what h and c keep; None: the expectation.
    """
    kernel, recurrent, bias, *own = (np.asarray(one, np.float64) for one in weights)
    h, c = np.zeros((2, len(x), UNITS))
    outputs = []
    for t in range(x.shape[1]):
        from_x, from_h = x[:, t] @ kernel, h @ recurrent
        if normalized_cell:
            from_x, from_h = normalized(from_x) * own[0], normalized(from_h) * own[1]
        i, f, g, o = np.split(from_x + from_h + bias, 4, axis=-1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        shown = normalized(c_new) * own[2] + own[3] if normalized_cell else c_new
        h_new = sigmoid(o) * np.tanh(shown)
        keep_h, keep_c = (zoneout, zoneout) if kept is None else kept[:, :, t]
        real = mask[:, t, None]
        c_new, h_new = keep_c * c + (1 - keep_c) * c_new, keep_h * h + (1 - keep_h) * h_new
        h, c = np.where(real, h_new, h), np.where(real, c_new, c)
        outputs.append((h, c))
    return np.stack(outputs, axis=2)


def data(random, rows=4, steps=6):
    x = random.normal(size=(rows, steps, FEATURES))
    lengths = random.integers(2, steps + 1, size=rows)
    return x, np.arange(steps) < lengths[:, None]


@pytest.mark.parametrize("kind", KINDS)
def test_prediction_is_the_definition_on_masked_sequences_in_both_directions(kind, random):
    x, mask = data(random)
    options = {"zoneout": KINDS[kind].get("zoneout", 0.0), "normalized_cell": kind != "zoneout"}
    layer = layer_of(kind)
    model = model_of(layers.Bidirectional(layer), random)
    weights = model.get_weights()
    half = len(weights) // 2
    forwards, _ = defined(x, mask, weights[:half], **options)
    backwards, _ = defined(x[:, ::-1], mask[:, ::-1], weights[half:], **options)
    found = model.predict_on_batch([x, mask])
    for name, wanted, part in zip(
        ("forwards", "backwards"),
        (forwards, backwards[:, ::-1]),
        np.split(found, 2, axis=-1),
        strict=True,
    ):
        np.testing.assert_allclose(part[mask], wanted[mask], atol=2e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["zoneout", "both"])
def test_training_keeps_units_of_h_and_of_c_with_the_probability_anew_at_each_step(kind, random):
    rows, steps = 300, 2
    layer = layer_of(kind, return_state=True)
    x = np.repeat(random.normal(size=(1, steps, FEATURES)), rows, axis=0)
    layer.build(x.shape)
    layer.set_weights([random.normal(size=one.shape) for one in layer.get_weights()])
    outputs, _, c = map(keras.ops.convert_to_numpy, layer(x.astype("f"), training=True))
    found = np.concatenate([outputs[:, 0], outputs[:, 1], c], axis=-1)  # [rows, 3 units]
    # What each of the steps may keep of each unit, of h and of c: 2 ** 12 cases.
    cases = np.array(list(itertools.product([0, 1], repeat=2 * steps * UNITS)))
    kept = cases.reshape(-1, 2, steps, UNITS).transpose(1, 0, 2, 3)
    options = {"zoneout": 0.3, "normalized_cell": kind == "both", "kept": kept}
    real = np.ones((len(cases), steps), bool)
    h, c = defined(np.repeat(x[:1], len(cases), axis=0), real, layer.get_weights(), **options)
    possible = np.concatenate([h[:, 0], h[:, 1], c[:, 1]], axis=-1)
    distance = np.abs(found[:, None] - possible).max(axis=-1)
    assert distance.min(axis=1).max() < 1e-5
    drawn = kept[:, distance.argmin(axis=1)]  # [2, rows, steps, units]
    assert abs(drawn.mean() - 0.3) < 0.03
    assert abs((drawn[0] * drawn[1]).mean() - 0.09) < 0.03  # h and c are drawn apart
    assert abs((drawn[:, :, 0] * drawn[:, :, 1]).mean() - 0.09) < 0.03
    assert abs((drawn[..., 0] * drawn[..., 1]).mean() - 0.09) < 0.03


def test_without_either_it_is_the_layer_of_keras_with_its_dropout(random):
    """In training, too: the masks of both dropouts come from the same seed."""
    dropped = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 3}
    plain = layers.LSTM(UNITS, return_sequences=True, **dropped)
    variant = VariantLSTM(VariantLSTMCell(UNITS, **dropped), return_sequences=True)
    x = random.normal(size=(4, 6, FEATURES)).astype(np.float32)
    for layer in (plain, variant):
        layer.build(x.shape)
    variant.set_weights(plain.get_weights())
    for training in (True, False):
        wanted, found = (
            keras.ops.convert_to_numpy(layer(x, training=training)) for layer in (plain, variant)
        )
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_with_every_other_option_and_survives_saving(kind, random, tmp_path):
    cell = {"dropout": 0.2, "recurrent_dropout": 0.2, "use_bias": kind != "both"}
    options = {"go_backwards": True, "stateful": True, "zero_output_for_mask": True}
    x, mask = data(random)
    inputs = keras.Input(batch_shape=(4, None, FEATURES))
    real = keras.Input(batch_shape=(4, None), dtype="bool")
    both = layers.Bidirectional(layer_of(kind, weight_dropout=0.2, cell=cell), name="both")
    outputs = layer_of(kind, cell=cell, sequences=False, **options)(both(inputs, mask=real))
    model = keras.Model([inputs, real], outputs)
    before = model.get_weights()
    model.compile("adam", "mse")
    model.train_on_batch([x, mask], np.ones((4, UNITS)))
    model.layers[-1].reset_state()
    weights = [one for one in zip(before, model.get_weights(), strict=True) if one[0].dtype == "f"]
    assert all(np.isfinite(after).all() and (after != one).any() for one, after in weights)
    keras.Model(model.input, model.output).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for _ in range(2):  # the second time from the state of the first
        wanted, found = (one.predict_on_batch([x, mask]) for one in (model, loaded))
        np.testing.assert_array_equal(found, wanted)


def test_the_engine_leaves_it_to_keras_and_says_why():
    layer = layer_of("both", name="reader")
    layer.build((None, None, FEATURES))
    assert "VariantLSTM" in engine.why_not(layer)


def test_a_run_with_it_says_what_opens_it_and_predicts_with_keras(sequences_file, tmp_path, caplog):
    settings = {
        "network": {"units": [3], "zoneout": 0.2, "cell_normalization": True},
        "training": {"epochs": 1, "quality": "fast"},
        "evaluation": {"n_resamples": 50},
    }
    caplog.set_level("INFO", "gatewise")
    run = gatewise.train(sequences_file, settings=settings, output=tmp_path / "run")
    assert "Keras opens it after import gatewise.networks.variants" in caplog.text
    caplog.clear()
    found = gatewise.predict(tmp_path / "run", sequences_file)
    assert "Keras runs the network, because a graph cannot hold it" in caplog.text
    assert found.equals(gatewise.predict(run.artefact, sequences_file))
    with pytest.raises(ConfigError, match="VariantLSTM, which a graph cannot hold"):
        gatewise.export(tmp_path / "run", to="onnx")
    with pytest.raises(ConfigError, match="Only models with"):
        gatewise.inspect(tmp_path / "run", examples=0)
