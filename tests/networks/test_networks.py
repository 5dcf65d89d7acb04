"""Networks: every setting reaches Keras, padding changes nothing, and plain Keras opens them."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest

from gatewise import networks
from gatewise.data.batches import PADDING, Shapes
from gatewise.data.bigrams import BIGRAMS, rows_of
from gatewise.errors import ConfigError
from gatewise.networks import losses
from gatewise.networks.layers import EVIDENCE, evidence, fine, one_or_other, statistics
from gatewise.settings import NetworkSettings
from gatewise.tasks import TASKS
from gatewise.tasks.forecast.task import default_segment_length

TEXT = Shapes({"tokens": (None,)}, (4,), vocabulary={"tokens": 9})
LABELS = Shapes({"steps": (None, 3)}, (4,), padding=PADDING)
WINDOW = Shapes({"past": (6, 1)}, (3, 1, 3))


def settings(**given):
    return NetworkSettings(**({"units": (3,), "embedding_dim": 5, "dense_dropout": 0.0} | given))


def build(shapes, settings, own=None):
    task = TASKS["forecast" if "past" in shapes.inputs else "classify"]
    if "past" in shapes.inputs and settings.kind != "stack":
        usual = default_segment_length(shapes.inputs["past"][0], shapes.output[0])
        settings = replace(settings, segment_length=settings.segment_length or usual)
    elif settings.pooling == "auto":
        settings = replace(settings, pooling="last")
    return networks.build(shapes, settings, own, network=task.network, task=task.name)


def layers_of(network, kind):
    """All layers of this kind, including those inside Bidirectional."""
    found = [layer for layer in network._flatten_layers() if isinstance(layer, kind)]
    return list({id(layer): layer for layer in found}.values())


def lstms(network):
    return layers_of(network, keras.layers.RNN)


REACHED = {
    "kind": ({"kind": "stack"}, WINDOW, lambda n: n.name == "stack"),
    "units": ({"units": (5, 2)}, LABELS, lambda n: [one.units for one in lstms(n)] == [5, 2]),
    "bidirectional": (
        {"bidirectional": True},
        LABELS,
        lambda n: len(layers_of(n, keras.layers.Bidirectional)) == 1,
    ),
    "activation": (
        {"activation": "relu"},
        LABELS,
        lambda n: lstms(n)[0].activation is keras.activations.relu,
    ),
    "recurrent_activation": (
        {"recurrent_activation": "hard_sigmoid"},
        LABELS,
        lambda n: lstms(n)[0].recurrent_activation is keras.activations.hard_sigmoid,
    ),
    "dropout": ({"dropout": 0.25}, LABELS, lambda n: lstms(n)[0].dropout == 0.25),
    "dense_dropout": (
        {"dense_dropout": 0.25, "dense": (4,)},
        LABELS,
        lambda n: [one.rate for one in layers_of(n, keras.layers.Dropout)] == [0.25, 0.25],
    ),
    "gaussian_noise": (
        {"gaussian_noise": 0.1},
        LABELS,
        lambda n: layers_of(n, keras.layers.GaussianNoise)[0].stddev == 0.1,
    ),
    "filters": (
        {"filters": (6, 5)},
        LABELS,
        lambda n: [one.filters for one in layers_of(n, keras.layers.Conv1D)] == [6, 5],
    ),
    "kernel_size": (
        {"filters": (6,), "kernel_size": 3},
        LABELS,
        lambda n: layers_of(n, keras.layers.Conv1D)[0].kernel_size == (3,),
    ),
    "strides": (
        {"filters": (6,), "strides": 3},
        LABELS,
        lambda n: layers_of(n, keras.layers.Conv1D)[0].strides == (3,),
    ),
    "asinh_features": (
        {"asinh_features": 0.1},
        LABELS,
        lambda n: lstms(n)[0].cell.kernel.shape[0] == 2 * 3,
    ),
    "summary_features": (
        {"summary_features": "yes"},
        LABELS,
        lambda n: n.get_layer("statistics").input.shape == (None, 9 * 3 + 1),
    ),
    "recurrent_dropout": (
        {"recurrent_dropout": 0.25},
        LABELS,
        lambda n: lstms(n)[0].recurrent_dropout == 0.25,
    ),
    "l1": (
        {"l1": 0.01, "dense": (4,)},
        LABELS,
        lambda n: all(
            float(one.l1) == pytest.approx(0.01)
            for one in (
                lstms(n)[0].cell.kernel_regularizer,
                lstms(n)[0].cell.recurrent_regularizer,
                n.get_layer("dense_1").kernel_regularizer,
            )
        ),
    ),
    "l2": (
        {"l2": 0.01},
        LABELS,
        lambda n: float(lstms(n)[0].cell.kernel_regularizer.l2) == pytest.approx(0.01),
    ),
    "activity_l1": (
        {"activity_l1": 0.01},
        LABELS,
        lambda n: float(lstms(n)[0].activity_regularizer.l1) == pytest.approx(0.01),
    ),
    "activity_l2": (
        {"activity_l2": 0.01},
        LABELS,
        lambda n: float(lstms(n)[0].activity_regularizer.l2) == pytest.approx(0.01),
    ),
    "weight_dropout": (
        {"weight_dropout": 0.25},
        LABELS,
        lambda n: lstms(n)[0].weight_dropout == 0.25,
    ),
    "zoneout": ({"zoneout": 0.25}, LABELS, lambda n: lstms(n)[0].cell.zoneout == 0.25),
    "cell_normalization": (
        {"cell_normalization": True},
        LABELS,
        lambda n: lstms(n)[0].cell.normalized,
    ),
    "normalization": (
        {"normalization": "batch"},
        LABELS,
        lambda n: len(layers_of(n, keras.layers.BatchNormalization)) == 1,
    ),
    "pooling": (
        {"pooling": "attention"},
        LABELS,
        lambda n: len(layers_of(n, keras.layers.Attention)) == 1,
    ),
    "dense": (
        {"dense": (7, 5)},
        LABELS,
        lambda n: [n.get_layer(f"dense_{k}").units for k in (1, 2)] == [7, 5],
    ),
    "dense_activation": (
        {"dense": (7,), "dense_activation": "tanh"},
        LABELS,
        lambda n: n.get_layer("dense_1").activation is keras.activations.tanh,
    ),
    "segment_length": (
        {"segment_length": 2},
        WINDOW,
        lambda n: n.get_layer("segment").input.shape[1:] == (3, 2),
    ),
    "linear": (
        {"linear": False},
        WINDOW,
        lambda n: "linear" not in {layer.name for layer in n.layers},
    ),
    "subtract": (
        {"subtract": "none"},
        WINDOW,
        lambda n: not invariant(n, WINDOW),
    ),
    "embedding_dim": (
        {"embedding_dim": 7},
        TEXT,
        lambda n: n.get_layer("embedding").embeddings.shape == (9, 7),
    ),
    "embedding_dropout": (
        {"embedding_dropout": 0.25},
        TEXT,
        lambda n: n.get_layer("embedding_dropout").rate == 0.25,
    ),
}
# Settings of networks with their own test file.
OWN = {"sampled_softmax", "character_units", "word_dropout"}
OWN |= {"tied_embeddings", "input_feeding", "vectors"}


def random_inputs(shapes, count=2, seed=0):
    random = np.random.default_rng(seed)
    return {
        name: random.normal(size=(count, *(5 if one is None else one for one in shape))).astype("f")
        for name, shape in shapes.inputs.items()
    }


def answer(network, inputs):
    given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    return network.predict_on_batch(given)


def invariant(network, shapes):
    """True if a constant added to the window is added to the forecast."""
    inputs = random_inputs(shapes)
    raised = inputs | {"past": inputs["past"] + 5}
    return np.allclose(answer(network, raised), answer(network, inputs) + 5, atol=1e-4)


def test_the_test_below_covers_every_setting():
    assert set(REACHED) | {"build"} | OWN == {field.name for field in fields(NetworkSettings)}


@pytest.mark.parametrize("name", REACHED)
def test_every_setting_reaches_the_layers(name):
    given, shapes, reached = REACHED[name]
    assert reached(build(shapes, settings(**given)))


@pytest.mark.parametrize("name", ["activation", "recurrent_activation", "dropout", "l1"])
@pytest.mark.parametrize("units", [(3,), (3, 2)])
def test_settings_of_the_lstm_reach_every_lstm_of_segments(name, units):
    given, _, _ = REACHED[name]
    network = build(WINDOW, settings(**(given | {"units": units, "dense": ()})))
    for layer in lstms(network):
        value = {
            "activation": lambda cell: cell.activation.__name__,
            "recurrent_activation": lambda cell: cell.recurrent_activation.__name__,
            "dropout": lambda cell: cell.dropout,
            "l1": lambda cell: round(float(cell.kernel_regularizer.l1), 6),
        }[name](layer.cell)
        assert value == given[name], layer.name


@pytest.mark.parametrize("key", ["activation", "recurrent_activation", "dense_activation"])
def test_an_unknown_activation_is_refused_by_name(key):
    with pytest.raises(ConfigError, match=rf"network\.{key}.*'sigmoyd'.*Did you mean 'sigmoid'"):
        build(LABELS, settings(**{key: "sigmoyd"}))


PADDED = [
    {"pooling": pooling, "bidirectional": both}
    for pooling in ("last", "mean", "max", "attention")
    for both in (False, True)
]
PADDED += [
    {"normalization": kind, "pooling": "max", "bidirectional": True, "units": (3, 2)}
    for kind in ("batch", "layer")
]
PADDED += [
    {"pooling": "mean-max", "filters": (4,), "kernel_size": 3, "strides": 2},
    {"summary_features": "yes", "filters": (4,), "kernel_size": 4, "strides": 3},
    {"asinh_features": 0.1, "filters": (4,), "kernel_size": 3, "strides": 2},
]


@pytest.mark.parametrize("given", PADDED, ids=lambda given: "-".join(map(str, given.values())))
def test_padding_never_changes_the_answer(given):
    keras.utils.set_random_seed(0)
    network = build(LABELS, settings(**given))
    # Trained normalisation must not turn the padding into other values.
    for layer in layers_of(network, keras.layers.BatchNormalization):
        layer.moving_mean.assign(layer.moving_mean + 0.3)
        layer.beta.assign(layer.beta + 0.5)
    steps = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("f")
    padded = np.concatenate([steps, np.full((1, 4, 3), PADDING, "f")], axis=1)
    np.testing.assert_allclose(
        answer(network, {"steps": padded}), answer(network, {"steps": steps}), atol=1e-5
    )


def test_summaries_of_sequences_of_one_length_are_those_of_their_steps():
    steps = np.random.default_rng(0).normal(3, 1, size=(2, 6, 2)).astype("f")
    inputs = keras.Input((None, 2))
    found = answer(keras.Model(inputs, statistics(inputs, None)), steps)
    mean, deviation = found[:, :2], found[:, 2:4]  # a new BatchNormalization divides by about 1
    np.testing.assert_allclose(mean, steps.mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(deviation, steps.std(axis=1), rtol=2e-3)


def test_evidence_is_the_weighted_sum_of_the_ratios_of_tokens_and_bigrams():
    random = np.random.default_rng(0)
    ratios, weights = random.normal(size=(32, 2)), random.normal(size=(32, 1))
    known = {"tokens": 9, BIGRAMS: 32}
    shapes = Shapes({"tokens": (None,)}, (2,), vocabulary=known, initial={BIGRAMS: ratios})
    tokens = keras.Input((None,), dtype="int32")
    network = keras.Model(tokens, evidence(tokens, "tokens", shapes))
    rows = np.array([[3, 5, 8, 1], [7, 2, 0, 0]])
    assert not answer(network, rows).any()  # the weights start at zero
    network.get_layer("bigram_weights").set_weights([weights])
    assert [one.shape for one in network.trainable_weights] == [(32, 1)]
    for row, found in zip(rows, answer(network, rows), strict=True):
        real = row[row > 0].tolist()
        places = real + [rows_of(*pair, rows=32, vocabulary=9) for pair in pairwise([0, *real])]
        wanted = (ratios * weights)[places].sum(axis=0) * EVIDENCE / np.sqrt(len(real))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_training_hides_one_of_two_and_answers_have_a_quarter_of_the_first():
    x, y = np.ones((200, 3), "f"), np.full((200, 2), 2, "f")
    inputs = [keras.Input((3,)), keras.Input((2,))]
    network = keras.Model(inputs, one_or_other(*inputs))
    np.testing.assert_allclose(answer(network, [x, y]), [[0.25] * 3 + [1.5] * 2] * 200)
    trained = keras.ops.convert_to_numpy(network([x, y], training=True))
    alone = (trained == [1, 1, 1, 0, 0]).all(axis=1)
    assert ((trained == [0, 0, 0, 2, 2]).all(axis=1) == ~alone).all()
    assert 60 < alone.sum() < 140


def test_fine_columns_are_the_arcsinh_of_the_distance_from_the_mean_of_the_real_steps():
    steps = np.random.default_rng(0).normal(3, 1, size=(2, 6, 2)).astype("f")
    mask = np.arange(6) < np.array([[6], [4]])
    found = keras.ops.convert_to_numpy(fine(keras.ops.convert_to_tensor(steps), mask, 0.1))
    np.testing.assert_array_equal(found[..., :2], steps)
    np.testing.assert_array_equal(found[1, 4:, 2:], 0)
    for one, length in ((0, 6), (1, 4)):
        real = steps[one, :length].astype(float)
        expected = np.arcsinh((real - real.mean(axis=0)) / 0.1)
        np.testing.assert_allclose(found[one, :length, 2:], expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_steps_matters():
    network = build(LABELS, settings())
    steps = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("f")
    assert not np.allclose(
        answer(network, {"steps": steps}), answer(network, {"steps": steps[:, ::-1]})
    )


def test_sequences_without_padding_may_have_lengths_unseen_in_training():
    network = build(Shapes({"steps": (5, 3)}, (4,)), settings())
    for length in (1, 5, 9):
        assert answer(network, {"steps": np.zeros((2, length, 3), "f")}).shape == (2, 4)


FULL = {"past": (7, 2), "covariates": (7, 3), "future": (5, 2), "static": (4,)}
SHAPES = {
    "one value of the past": Shapes({"past": (1, 1)}, (1, 1, 1)),
    "odd lookback and horizon": Shapes({"past": (7, 1)}, (5, 1, 3)),
    "horizon longer than lookback": Shapes({"past": (3, 2)}, (11, 2, 1)),
    "everything known": Shapes(FULL, (5, 2, 3)),
    "known ahead": Shapes({n: s for n, s in FULL.items() if n != "static"}, (5, 2, 3)),
    "static only": Shapes({"past": (7, 3), "static": (2,)}, (5, 3, 2)),
}


@pytest.mark.parametrize(
    ("name", "given"),
    [*((name, {}) for name in SHAPES), ("static only", {"segment_length": 3})]
    + [("odd lookback and horizon", {"segment_length": 50}), ("known ahead", {"units": (4, 3)})],
)
def test_segments_output_every_step_target_and_quantile(name, given):
    shapes = SHAPES[name]
    network = build(shapes, settings(**given))
    inputs = random_inputs(shapes)
    assert answer(network, inputs).shape == (2, *shapes.output)
    assert invariant(network, shapes), "each window is measured from its last value"


@pytest.mark.parametrize("kind", ["stack", "segments"])
def test_every_input_changes_the_forecast(kind):
    shapes = SHAPES["everything known"]
    network = build(shapes, settings(kind=kind))
    inputs = random_inputs(shapes)
    usual = answer(network, inputs)
    for name, array in inputs.items():
        other = answer(network, inputs | {name: array[::-1].copy()})
        assert not np.allclose(other, usual), name


@pytest.mark.parametrize("kind", ["stack", "segments"])
def test_examples_of_a_batch_do_not_affect_each_other(kind):
    shapes = SHAPES["everything known"]
    network = build(shapes, settings(kind=kind))
    inputs = random_inputs(shapes, count=3)
    alone = {name: array[1:2] for name, array in inputs.items()}
    np.testing.assert_allclose(answer(network, alone)[0], answer(network, inputs)[1], atol=1e-5)


def test_a_users_network_must_fit_the_data():
    def too_small(shapes, _settings):
        steps = keras.Input(shapes.inputs["steps"])
        return keras.Model(steps, keras.layers.Dense(1)(keras.layers.LSTM(2)(steps)))

    with pytest.raises(ConfigError, match=r"shape \(1,\); this data needs \(4,\)"):
        build(LABELS, settings(), too_small)
    with pytest.raises(ConfigError, match=r"must return a keras\.Model"):
        build(LABELS, settings(), lambda *_: "a model")


def test_a_loss_that_cannot_compare_the_shapes_is_refused():
    numbers = np.zeros((2, 3), "float32")
    with pytest.raises(ConfigError, match=r"cannot compare outputs of shape \(2, 3\)"):
        losses.refuse_unfit(keras.losses.CTC(), numbers, numbers)


def test_every_network_opens_in_plain_keras_without_gatewise(tmp_path, optimised):
    """In a process where importing gatewise fails."""
    built = {
        "labels": (LABELS, settings(pooling="attention", bidirectional=True, units=(3, 2))),
        "max": (LABELS, settings(pooling="max", normalization="batch", dense=(4,), l2=0.1)),
        "segments": (SHAPES["everything known"], settings(units=(3, 2), segment_length=2)),
        "stack": (SHAPES["everything known"], settings(kind="stack", recurrent_dropout=0.1)),
    }
    for name, (shapes, chosen) in built.items():
        network = build(shapes, chosen)
        inputs = random_inputs(shapes)
        if "steps" in inputs:
            inputs["steps"][1, 3:] = PADDING
        network.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", answer=answer(network, inputs), **inputs)
    program = """
import json, sys
sys.path += json.loads(sys.argv[1])
sys.modules["gatewise"] = None  # from here on, importing it fails
sys.modules["tensorflow"] = None  # Keras would import it, which takes seconds
import numpy as np, keras
for name in sys.argv[3:]:
    network = keras.saving.load_model(f"{sys.argv[2]}/{name}.keras", safe_mode=True)
    kept = dict(np.load(f"{sys.argv[2]}/{name}.npz"))
    wanted = kept.pop("answer")
    given = kept if len(kept) > 1 else next(iter(kept.values()))
    np.testing.assert_array_equal(network.predict_on_batch(given), wanted, name)
assert not [name for name in sys.modules if name.startswith("gatewise.")]
print("opened", *sys.argv[3:])
"""
    installed = str(Path(keras.__file__).parents[1])  # -S ignores .pth files
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, json.dumps([installed]), tmp_path, *built],
        capture_output=True,
        text=True,
        # The flags are those of this process, because others round differently.
        env={"KERAS_BACKEND": keras.backend.backend(), "HOME": str(tmp_path)}
        | {key: os.environ[key] for key in os.environ if key == "XLA_FLAGS"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["opened", *built]
