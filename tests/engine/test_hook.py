"""With the engine on, each layer gives what Keras's own generic loop gives."""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import fresh
from framework import BACKEND, TANH, assert_close, kernel_calls, run, values
from keras import layers, ops

import gatewise
from gatewise.engine import hook, library, reference, support
from gatewise.errors import EngineError

BATCH, STEPS, FEATURES, UNITS = 4, 6, 3, 5
MASKS = {
    "right": [[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], [1] * 6, [1, 1, 1, 0, 0, 0]],
    "left": [[0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [1] * 6, [0, 1, 1, 1, 1, 1]],
    "holes": [[1, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0], [1] * 6, [0, 1, 1, 0, 1, 1]],
    "empty rows": [[0] * 6, [1, 1, 0, 0, 0, 0], [0] * 6, [1] * 6],
}
LSTM = partial(layers.LSTM, UNITS, use_cudnn=False)
CELL = layers.LSTMCell


def bidirectional(merge_mode="concat", *, back=None, **options):
    return layers.Bidirectional(LSTM(**options), merge_mode=merge_mode, backward_layer=back)


def stack(*sizes, **options):
    return layers.RNN(
        layers.StackedRNNCells([CELL(size, **options) for size in sizes]), return_sequences=True
    )


def arrays(*shapes, seed=0):
    random = np.random.default_rng(seed)
    return [ops.convert_to_tensor(random.normal(size=shape), "float32") for shape in shapes]


def state(count=2, units=UNITS):
    return arrays(*[(BATCH, units)] * count, seed=1)


# Each case: how the layer is built, and the arguments of its call besides the input.
SEQ = {"return_sequences": True}
ALL = {"return_sequences": True, "return_state": True}
DROP = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 3}
ON = {"training": True}
CASES = {
    "last output": (partial(LSTM), {}),
    "sequences and states": (partial(LSTM, **ALL), {}),
    "no bias": (partial(LSTM, use_bias=False, **SEQ), {}),
    "backwards": (partial(LSTM, go_backwards=True, **ALL), {}),
    "initial state": (partial(LSTM, **ALL), {"initial_state": state()}),
    "unrolled": (partial(LSTM, unroll=True, **ALL), {}),
    "unrolled, masked, with a state": (
        partial(LSTM, unroll=True, **ALL),
        {"mask": "left", "initial_state": state()},
    ),
    **{
        f"mask: {name}": (partial(LSTM, **ALL), {"mask": name, "initial_state": state()})
        for name in MASKS
    },
    "masked, last output": (partial(LSTM), {"mask": "holes"}),
    "masked, backwards": (partial(LSTM, go_backwards=True, **ALL), {"mask": "right"}),
    "masked, zeros put out": (
        partial(LSTM, zero_output_for_mask=True, **ALL),
        {"mask": "holes", "initial_state": state()},
    ),
    "masked, zeros put out, last output": (
        partial(LSTM, zero_output_for_mask=True, go_backwards=True),
        {"mask": "left"},
    ),
    "input dropout": (partial(LSTM, dropout=0.4, seed=3, **SEQ), ON),
    "recurrent dropout": (partial(LSTM, recurrent_dropout=0.4, seed=3, **ALL), ON),
    "both dropouts, masked": (partial(LSTM, **DROP, **ALL), ON | {"mask": "right"}),
    "dropout, not in training": (partial(LSTM, **DROP, **SEQ), {}),
    "dropout of implementation 1": (
        partial(LSTM, dropout=0.4, seed=3, implementation=1, **SEQ),
        ON,
    ),
    "all is dropped, which Keras takes for nothing": (partial(LSTM, dropout=1.0), ON),
    "a cell": (lambda: layers.RNN(CELL(UNITS), **ALL), {"mask": "holes"}),
    "a cell with dropout, backwards": (
        lambda: layers.RNN(CELL(UNITS, **DROP), go_backwards=True, **ALL),
        ON | {"mask": "right"},
    ),
    "stacked cells": (lambda: stack(5, 3, 4), {}),
    "stacked cells, masked": (lambda: stack(5, 3), {"mask": "holes"}),
    "stacked cells with dropout": (lambda: stack(5, 3, **DROP), ON | {"mask": "left"}),
    "stacked cells, backwards, masked": (
        lambda: layers.RNN(
            layers.StackedRNNCells([CELL(4), CELL(3)]),
            go_backwards=True,
            zero_output_for_mask=True,
            **ALL,
        ),
        {"mask": "right"},
    ),
    **{
        f"bidirectional, {mode}": (partial(bidirectional, mode, **ALL), {"mask": "right"})
        for mode in ("concat", "sum", "ave", "mul", None)
    },
    "bidirectional, last output": (bidirectional, {}),
    "bidirectional, last output, masked": (bidirectional, {"mask": "left"}),
    "bidirectional with a state": (
        partial(bidirectional, **ALL),
        {"mask": "holes", "initial_state": state(4)},
    ),
    "bidirectional with dropout": (partial(bidirectional, **DROP, **SEQ), ON | {"mask": "right"}),
    "bidirectional of two kinds": (
        lambda: bidirectional(
            back=LSTM(activation="relu", go_backwards=True, **SEQ),
            **SEQ,
        ),
        {"mask": "right"},
    ),
    "bidirectional of two sizes, the first backwards": (
        lambda: bidirectional(
            None,
            back=layers.LSTM(3, use_cudnn=False, use_bias=False, **SEQ),
            go_backwards=True,
            **SEQ,
        ),
        {},
    ),
    **{
        f"activations {one} and {two}": (
            partial(LSTM, activation=one, recurrent_activation=two, **SEQ),
            {},
        )
        for one, two in [
            ("sigmoid", "tanh"),
            ("relu", "hard_sigmoid"),
            ("hard_sigmoid", "relu"),
            ("softsign", "elu"),
            ("elu", "softsign"),
            ("linear", "sigmoid"),
            ("tanh", "linear"),
        ]
    },
}


def made(build, features=FEATURES):
    """Build a layer with the same weights each time."""
    keras.utils.set_random_seed(5)
    layer = build()
    layer.build((BATCH, STEPS, features))
    random = np.random.default_rng(2)
    layer.set_weights(
        [
            one if one.dtype.kind != "f" else random.normal(size=one.shape, scale=0.4)
            for one in layer.get_weights()
        ]
    )
    return layer


def outcome(build, options, x):
    """Return what `run` gives for a new layer."""
    layer = made(build, x.shape[-1])
    options = dict(options)
    mask = options.pop("mask", None)
    given = options.pop("initial_state", None)
    mask = None if mask is None else np.array(MASKS[mask], bool)
    return run(layer, x, given, mask=mask, **options)


def assert_same(build, options, x, *, native=1, rtol=2e-5, atol=2e-6):
    """Check that the engine gives Keras's numbers and that the engine computed them."""
    with gatewise.accelerated(False):
        expected = outcome(build, options, x)
    before = hook.calls["native"]
    with gatewise.accelerated(engine="native"):
        found = outcome(build, options, x)
    assert hook.calls["native"] >= before + native
    assert_close(found, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", CASES)
def test_a_layer_gives_what_keras_gives(name):
    build, options = CASES[name]
    (x,) = arrays((BATCH, STEPS, FEATURES))
    assert_same(build, options, x)


@pytest.mark.parametrize(
    "batch, steps, features, units", [(1, 1, 1, 1), (3, 1, 2, 17), (1, 9, 70, 1), (2, 3, 5, 130)]
)
def test_odd_sizes_give_what_keras_gives(batch, steps, features, units):
    (x,) = arrays((batch, steps, features))
    assert_same(partial(layers.LSTM, units, use_cudnn=False, **ALL), {}, x, atol=1e-5)


def test_float64_layers_compute_in_float64_throughout(x64):
    (x,) = arrays((BATCH, STEPS, FEATURES))
    build = partial(bidirectional, dtype="float64", **ALL)
    options = {"mask": "holes"}
    # Keras takes the tanh of float64 in float32, on JAX.
    x = ops.cast(x, "float64")
    assert_same(build, options, x, rtol=1e-4, atol=1e-6)
    layer = made(partial(LSTM, dtype="float64"))
    with gatewise.accelerated(engine="native"):
        found = layer(x)
    zeros = np.zeros((BATCH, UNITS))
    _, expected, _ = reference.lstm(*values(x), zeros, zeros, *values(layer.weights))
    assert_close(found, expected, rtol=1e-12, atol=0)


def test_whole_numbers_are_read_as_by_keras():
    x = ops.reshape(ops.arange(BATCH * STEPS) % 3, (BATCH, STEPS, 1))
    layer = made(LSTM, 1)
    with gatewise.accelerated(False):
        expected = layer(x)
    with gatewise.accelerated(engine="native"):
        assert_close(layer(x), expected)


def test_a_step_is_used_if_any_value_of_its_mask_is_true():
    (x,) = arrays((BATCH, STEPS, FEATURES))
    mask = np.array(MASKS["holes"], bool)
    layer = made(partial(LSTM, **SEQ))
    with gatewise.accelerated(False):
        expected = layer(x, mask=mask | mask[::-1])
    with gatewise.accelerated(engine="native"):
        assert_close(layer(x, mask=np.stack([mask, mask[::-1]], -1)), expected)


def test_stateful_layers_go_on_where_they_stopped():
    x, more = arrays((BATCH, STEPS, FEATURES), (BATCH, STEPS, FEATURES))
    for build in (LSTM, bidirectional):
        found = []
        for on in (False, True):
            layer = made(partial(build, stateful=True))
            with gatewise.accelerated(on):
                outputs = [layer(x), layer(more, mask=np.array(MASKS["right"], bool))]
                layer.reset_state()
                found.append([*outputs, layer(more)])
        assert_close(*found)


def test_a_bidirectional_layer_is_one_call():
    layer = made(partial(bidirectional, **SEQ))
    (x,) = arrays((BATCH, STEPS, FEATURES))
    with gatewise.accelerated(engine="native"):
        assert kernel_calls(layer, x) == 1


def test_a_layer_within_a_time_distributed_one_gives_what_keras_gives():
    (x,) = arrays((2, 3, STEPS, FEATURES))
    found = []
    for on in (False, True):
        keras.utils.set_random_seed(0)
        layer = layers.TimeDistributed(LSTM())
        with gatewise.accelerated(on):
            found.append(layer(x))
    assert_close(*found)


def test_implementation_1_with_dropout_runs_where_keras_fails():
    (x,) = arrays((BATCH, STEPS, FEATURES))
    options = {"dropout": 0.5, "implementation": 1, "seed": 1}
    with gatewise.accelerated(False):
        expected = made(partial(layers.LSTM, 4, use_cudnn=False, **options))(x, training=True)
        with pytest.raises(Exception, match="inputs|shape|list|rank"):
            made(partial(layers.LSTM, 4, **options))(x, training=True)
    with gatewise.accelerated(engine="native"):
        found = made(partial(layers.LSTM, 4, **options))(x, training=True)
    assert_close(found, expected)


def test_an_unrolled_layer_returns_zeros_for_masked_steps_if_asked():
    (x,) = arrays((BATCH, STEPS, FEATURES))
    mask = np.array(MASKS["right"], bool)
    layer = made(partial(LSTM, unroll=True, zero_output_for_mask=True, **SEQ))
    with gatewise.accelerated(engine="native"):
        (found,) = values(layer(x, mask=mask))
    assert (found[~mask] == 0).all()
    assert (found[mask] != 0).all()


# Products of bfloat16.


def wide(dtype="float32", **chosen):
    """Return the outputs of a layer of 32 units, from stock Keras unless an engine is chosen."""
    (x,) = arrays((BATCH, 12, 8))
    layer = layers.LSTM(32, dtype=dtype, use_cudnn=False, **ALL)
    layer.build(x.shape)
    layer.set_weights([values(one)[0] / 6 for one in arrays((8, 128), (32, 128), (128,), seed=2)])
    with gatewise.accelerated(bool(chosen), **chosen):
        found = run(layer, x, None)
    return found["outputs"], found["gradients"]


def distances(found, truth):
    """Return the relative error of each array in the L2 norm."""
    pairs = zip(values(found), values(truth), strict=True)
    return [np.linalg.norm(one - two) / np.linalg.norm(two) for one, two in pairs]


@pytest.mark.parametrize(
    "chosen",
    [{"dtype": "mixed_bfloat16", "engine": "native"}, {"products": "bfloat16"}],
    ids=["mixed_bfloat16", "products"],
)
def test_bfloat16_is_at_least_as_exact_as_in_keras(chosen):
    truth = wide()  # in float32, whose own error is a ten thousandth of those
    ours, theirs = distances(wide(**chosen), truth), distances(wide("mixed_bfloat16"), truth)
    assert 1e-3 < max(theirs) < 0.05
    assert all(one <= 1.5 * two for one, two in zip(ours, theirs, strict=True))


def test_a_bfloat16_layer_returns_bfloat16():
    (x,) = arrays((BATCH, STEPS, FEATURES))
    mixed = {"dtype": "mixed_bfloat16"}
    with gatewise.accelerated(engine="native"):
        found = LSTM(**mixed, **ALL)(x), layers.Bidirectional(LSTM(**mixed, **ALL), **mixed)(x)
    dtypes = {keras.backend.standardize_dtype(one.dtype) for one in keras.tree.flatten(found)}
    assert dtypes == {"bfloat16"}


def test_products_of_bfloat16_are_used_where_they_pay():
    cells = {units: layers.LSTMCell(units) for units in (15, 16)}
    here = "bfloat16" if library.has_products("bfloat16") else "float32"
    assert support.products(cells[16], "bfloat16") == here
    assert support.products(cells[15], "bfloat16") == "float32"
    assert support.products(layers.LSTMCell(16, dtype="float64"), "bfloat16") == "float32"
    assert support.products(layers.LSTMCell(16, dtype="mixed_bfloat16"), "float32") == here
    assert support.products(cells[16], "float32") == "float32"
    moved = max(distances(wide(products="bfloat16"), wide(engine="native")))
    assert (1e-4 < moved < 2e-2) if here == "bfloat16" else moved == 0


def test_split_products_are_used_where_they_pay():
    here = "bfloat16x3" if library.has_products("bfloat16x3") else "float32"
    assert support.products(layers.LSTMCell(64), "bfloat16x3") == here
    assert support.products(layers.LSTMCell(63), "bfloat16x3") == "float32"
    assert library.has_products("bfloat16x3") == (library.isa() == "amx")


# What cannot run natively.


class OwnCell(layers.LSTMCell):
    pass


class OwnLoop(layers.LSTM):
    def inner_loop(self, *arguments, **options):
        return super().inner_loop(*arguments, **options)


REASONS = {
    "gelu": (lambda: LSTM(activation="gelu"), "Activation 'gelu' has no kernel; known: tanh"),
    "half": (lambda: LSTM(dtype="mixed_float16"), "It computes in float16"),
    "cuDNN": (lambda: layers.LSTM(3, use_cudnn=True), "use_cudnn=True"),
    "cell": (lambda: layers.RNN(OwnCell(3)), "Its cell is a OwnCell"),
    "loop": (lambda: OwnLoop(3), "OwnLoop has an inner_loop of its own"),
    "one in a stack": (lambda: stack(3), "only one cell"),
    "half of a pair": (lambda: bidirectional(activation="selu"), "Activation 'selu'"),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_layer_that_cannot_run_natively_has_a_reason_that_is_logged_once(name, caplog):
    build, expected = REASONS[name]
    layer = build()
    assert expected in gatewise.why_not(layer)
    (x,) = arrays((BATCH, STEPS, FEATURES))
    hook._said.clear()
    # Such a loop replaces the engine's; Keras fails without cuDNN, and with one cell in a stack.
    if name in ("loop", "cuDNN", "one in a stack"):
        return
    with caplog.at_level(logging.WARNING, "gatewise"), gatewise.accelerated():
        layer(x)
        layer(x)
    assert sum(expected in one.getMessage() for one in caplog.records) == 1
    with gatewise.accelerated(engine="native"), pytest.raises(EngineError, match="cannot run"):
        layer(x)


def test_why_not_is_none_for_native_layers_and_a_sentence_for_others():
    assert gatewise.why_not(LSTM()) is None
    assert gatewise.why_not(bidirectional()) is None
    assert gatewise.why_not(stack(3, 4)) is None
    assert gatewise.why_not(layers.LSTM(3, activation=TANH, recurrent_activation=None)) is None
    assert gatewise.why_not(layers.TimeDistributed(LSTM())) is None
    assert "'gelu'" in gatewise.why_not(layers.TimeDistributed(LSTM(activation="gelu")))
    assert "is not an LSTM layer" in gatewise.why_not(layers.TimeDistributed(layers.Dense(3)))
    assert gatewise.why_not(3).startswith("int is not an LSTM layer")
    assert "is not an LSTM layer" in gatewise.why_not(layers.GRU(3))
    assert "is not an LSTM layer" in gatewise.why_not(layers.Dense(3))
    model = keras.Sequential([layers.Input((5, 2)), LSTM(**SEQ), LSTM(activation="gelu", name="b")])
    assert "Layer 'b': Activation 'gelu'" in gatewise.why_not(model)


PATCHES = {
    "_compute_carry_and_output_fused": lambda z, c: (c + 1, c * 0 + 1),
    "call": lambda x, states, training=False: (states[0] + 1, states),
    "get_dropout_mask": lambda x: x * 0,
}


@pytest.mark.parametrize("build", [LSTM, bidirectional, lambda **_: stack(5, 3, dropout=0.5)])
@pytest.mark.parametrize("where", ["instance", "class"])
@pytest.mark.parametrize("method", PATCHES)
def test_a_method_that_is_not_keras_own_is_run_by_keras(method, where, build, monkeypatch, caplog):
    def patched():
        layer = made(partial(build, dropout=0.5, seed=1, **SEQ))
        cell = (layer.forward_layer if build is bidirectional else layer).cell
        cell = getattr(cell, "cells", [cell])[0]
        if where == "instance":
            setattr(cell, method, PATCHES[method])
        return layer

    if where == "class":
        monkeypatch.setattr(CELL, method, lambda _, *some, **named: PATCHES[method](*some, **named))
    (x,) = arrays((BATCH, STEPS, FEATURES))
    with gatewise.accelerated(False):
        expected = patched()(x, training=True)
    hook._said.clear()
    with gatewise.accelerated(), caplog.at_level(logging.WARNING, "gatewise"):
        assert_close(patched()(x, training=True), expected)
    assert f"The method {method} of its LSTMCell was replaced." in caplog.text
    assert f"The method {method}" in gatewise.why_not(patched())


def test_a_loop_or_half_that_is_not_keras_own_is_run_by_keras(monkeypatch):
    (x,) = arrays((BATCH, STEPS, FEATURES))
    layer = made(partial(bidirectional, **SEQ))
    with gatewise.accelerated(False):
        expected = layer(x)
    half = layer.backward_layer
    half.get_initial_state = lambda batch_size: [one + 1 for one in state()]
    with gatewise.accelerated():
        assert np.abs(np.subtract(*values([layer(x), expected]))).max() > 1e-3
    del half.get_initial_state
    half.inner_loop = lambda *a, **k: (x, ops.zeros((BATCH, STEPS, UNITS)), [])
    with gatewise.accelerated():
        assert (values(layer(x))[0][..., UNITS:] == 0).all()
        assert "inner_loop of its own" in gatewise.why_not(layer)

    def own(self, sequences, *given, **named):
        return sequences

    monkeypatch.setattr(layers.Bidirectional, "call", own)
    with gatewise.accelerated():
        assert layers.Bidirectional.call is own


def test_masks_and_states_of_odd_shapes_are_left_to_keras(caplog):
    (x,) = arrays((BATCH, STEPS, FEATURES))
    layer = made(partial(LSTM, **SEQ))
    hook._said.clear()
    mask = np.array([[1, 1, 0, 1, 0, 0]], bool)  # one for all rows
    with gatewise.accelerated(False):
        expected = layer(x, mask=mask)
    with gatewise.accelerated(), caplog.at_level(logging.WARNING, "gatewise"):
        assert_close(layer(x, mask=mask), expected)
    assert "Its mask has the shape (1, 6)" in caplog.text


@pytest.mark.parametrize("count", [1, 3])
def test_states_of_another_number_are_left_to_keras(count):
    """It may read the first two, or fail in its own words."""
    (x,) = arrays((BATCH, STEPS, FEATURES))
    layer = made(partial(LSTM, **SEQ))

    def outcome_of():
        try:
            return values(layer(x, initial_state=state(count)))[0]
        except Exception as error:
            return type(error)

    with gatewise.accelerated(False):
        expected = outcome_of()
    with gatewise.accelerated():
        found = outcome_of()
    if isinstance(expected, type):
        assert found is expected
    else:
        assert_close(found, expected)


def test_calls_at_which_keras_is_faster_are_left_to_it(caplog):
    """Few steps, or few units with many rows, unless the kernels are asked for by name."""
    caplog.set_level(logging.DEBUG, "gatewise")
    small = {
        "jax": [
            *((layers.LSTM(32), (2, 3, 4)), (layers.LSTM(4), (64, 5, 3))),
            (layers.Bidirectional(layers.LSTM(8)), (63, 1, 2)),
        ],
        "torch": [(layers.LSTM(32), (1, 2, 4)), (layers.Bidirectional(layers.LSTM(8)), (15, 1, 2))],
        "tensorflow": [(layers.LSTM(256), (4, 2, 3))],
    }
    for layer, shape in small[BACKEND]:
        before = dict(hook.calls)
        with gatewise.accelerated():
            layer(ops.ones(shape))
        assert hook.calls["native"] == before["native"], shape
        with gatewise.accelerated(engine="native"):
            layer(ops.ones(shape))
        assert hook.calls["native"] > before["native"], shape
    assert "Keras's own loop is faster" in caplog.text


def test_keras_of_an_unknown_version_is_left_alone(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.99.0")
    assert "Keras 3.99.0 is not known" in gatewise.why_not(LSTM())
    with pytest.raises(EngineError, match="3.99.0"):
        gatewise.accelerate(engine="native")


@pytest.mark.parametrize("how", ["train", "test", "predict"])
def test_no_thread_is_started_for_callbacks_that_ignore_batches(how, monkeypatch):
    started = []
    submit = ThreadPoolExecutor.submit

    def counted(*arguments):
        started.append(arguments)
        return submit(*arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    model = keras.Sequential([layers.Input((STEPS, FEATURES)), LSTM(), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(3 * BATCH, STEPS, FEATURES)).astype("float32")
    calls = {
        "train": partial(model.fit, x, x[:, :1, 0]),
        "test": partial(model.evaluate, x, x[:, :1, 0]),
        "predict": partial(model.predict, x),
    }
    heard = []

    class Listener(keras.callbacks.Callback):
        async_safe = True

        def heard(self, batch, logs=None):
            heard.append(batch)

    calls[how](batch_size=BATCH, verbose=0)
    in_stock = len(started)
    with gatewise.accelerated():
        calls[how](batch_size=BATCH, verbose=0, callbacks=[keras.callbacks.Callback()])
        assert len(started) == in_stock
        for name in (f"on_{how}_batch_end", *(["on_batch_end"] if how == "train" else [])):
            listener = type("Named", (Listener,), {name: Listener.heard})
            calls[how](batch_size=BATCH, verbose=0, callbacks=[listener()])
            assert sorted(heard) == [0, 1, 2]
            heard.clear()
    threads = BACKEND != "tensorflow"  # where Keras starts none at all
    assert (len(started) > in_stock) == (in_stock > 0) == threads


# On and off.


def test_switching_off_restores_keras():
    before = (layers.LSTM.inner_loop, layers.RNN.inner_loop, layers.Bidirectional.call)
    with gatewise.accelerated():
        assert layers.LSTM.inner_loop is not before[0]
        with gatewise.accelerated(False):
            assert layers.LSTM.inner_loop is before[0]
        assert layers.LSTM.inner_loop is not before[0]
    assert before == (layers.LSTM.inner_loop, layers.RNN.inner_loop, layers.Bidirectional.call)


def test_a_description_says_which_products_are_computed():
    with gatewise.accelerated(products="bfloat16"):
        here = "bfloat16" if library.has_products("bfloat16") else "float32. Products of bfloat16"
        assert f"products of {here}" in gatewise.info()["reason"]
    with pytest.raises(gatewise.ConfigError, match="one of float32, bfloat16.* Received: 'fp8'"):
        gatewise.accelerate(products="fp8")


def test_an_unknown_engine_is_refused():
    with pytest.raises(gatewise.ConfigError, match="auto, native, stock"):
        gatewise.accelerate(engine="fast")
    for wrong in ("off", "native", 0, None):
        with pytest.raises(gatewise.ConfigError, match="True or False. Received: "):
            gatewise.accelerate(wrong)
    assert gatewise.info()["chosen"] == "stock"


@pytest.mark.parametrize("wrong", [2**40, 1025, -1, "2", 2.0, None, True])
def test_an_invalid_number_of_threads_is_refused(wrong):
    before = gatewise.info()["threads"]
    with pytest.raises(gatewise.ConfigError, match="a whole number from 0 to 1024"):
        gatewise.set_threads(wrong)
    assert gatewise.info()["threads"] == before
    gatewise.set_threads(np.int64(3))
    assert gatewise.info()["threads"] == 3
    gatewise.set_threads(0)


def test_info_describes_this_process():
    found = gatewise.info()
    assert found["kind"] == "native" and found["backend"] == BACKEND
    assert found["instruction_set"] in library.ISAS
    assert found["products"][0] == "float32"
    assert found["threads"] >= 1 and found["versions"]["keras"] == keras.__version__


# Whole models.


def network(*, dropout=0.0, compiled=True):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            layers.Input((None,)),
            layers.Embedding(20, 4, mask_zero=True),
            layers.Bidirectional(
                layers.LSTM(5, return_sequences=True, dropout=dropout, recurrent_dropout=dropout)
            ),
            layers.LSTM(4, dropout=dropout),
            layers.Dense(1),
        ]
    )
    if compiled:
        model.compile("adam", "mse")
    return model


def sentences():
    random = np.random.default_rng(0)
    x = random.integers(1, 20, size=(24, 7), dtype="int32")
    for row, length in zip(x, random.integers(1, 8, size=24), strict=True):
        row[length:] = 0
    return x, random.normal(size=(24, 1)).astype("float32")


def losses(model):
    class Every(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kept.append(logs["loss"])

    kept = []
    x, y = sentences()
    model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[Every()])
    return kept, model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)


def test_training_gives_the_same_losses_step_by_step():
    with gatewise.accelerated(False):
        expected = losses(network(dropout=0.3))
    with gatewise.accelerated(engine="native"):
        found = losses(network(dropout=0.3))
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"epsilon": 0.1, "beta_2": 0.9}, {"weight_decay": 0.1}, {"amsgrad": True}),
        {"gradient_accumulation_steps": 2},
    ],
)
def test_adam_takes_the_steps_of_keras(options):
    """The engine replaces Adam's steps on TensorFlow and PyTorch, where they are slow."""
    start, *gradients = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")

    def ends():
        weights = [keras.Variable(start), keras.Variable(start[0])]
        adam = keras.optimizers.Adam(0.1, **options)
        for one in gradients:
            adam.apply([ops.convert_to_tensor(one), ops.convert_to_tensor(one[1])], weights)
        return [values(one.value) for one in (*weights, *adam.variables)]

    with gatewise.accelerated(False):
        expected = ends()
    with gatewise.accelerated():
        for one, other in zip(ends(), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_configurations_are_plain_keras():
    keras.backend.clear_session()
    with gatewise.accelerated(False):
        expected = network().to_json()
    keras.backend.clear_session()
    with gatewise.accelerated():
        assert network().to_json() == expected


@pytest.mark.parametrize("ending", ["model.keras", "model.weights.h5"])
def test_files_are_plain_keras_both_ways(ending, tmp_path):
    x, _ = sentences()
    for on in (True, False):
        with gatewise.accelerated(on):
            model = network(compiled=False)
            expected = model.predict(x, verbose=0)
            path = tmp_path / f"{on}-{ending}"
            (model.save_weights if "weights" in ending else model.save)(path)
        with gatewise.accelerated(not on):
            if "weights" in ending:
                other = network(compiled=False)
                other.load_weights(path)
            else:
                other = keras.saving.load_model(path)
                assert type(other.layers[2]) is layers.LSTM
            np.testing.assert_allclose(other.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-6)


WAITS = """
import importlib.util, sys, gatewise
gatewise.accelerate()
assert not {"keras", "jax", "tensorflow", "torch"} & set(sys.modules)
assert importlib.util.find_spec("keras").loader.get_filename().endswith("__init__.py")
sys.modules["absl"] = None
try:
    import keras
except ImportError:
    del sys.modules["absl"]
assert "keras" not in sys.modules
for name in [one for one in sys.modules if one.startswith("keras.")]:
    del sys.modules[name]  # Keras's own tests need a whole import
import keras
assert "_Watch" not in {type(one).__name__ for one in sys.meta_path}
keras.layers.LSTM(2)(keras.ops.ones((3, 3, 2)))
assert gatewise.info()["calls"] == {"native": 1, "stock": 0}, gatewise.info()
gatewise.accelerate(False)
keras.layers.LSTM(2)(keras.ops.ones((3, 3, 2)))
assert gatewise.info()["calls"]["native"] == 1
"""
OWN_TESTS = """
import pytest
options = ["-q", "-p", "keras_plugin", "-p", "no:cacheprovider", "--pyargs"]
sys.exit(pytest.main([*options, *sys.argv[1:]]))
"""
SUITES = (
    *(f"rnn.{name}_test" for name in ("lstm", "rnn", "bidirectional", "stacked_rnn_cells")),
    *("rnn.time_distributed_test", "core.masking_test"),
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """The calls in Keras's own tests, in a process that checks its import of Keras before.

    One process does both, because the import takes seconds.
    """
    folder = tmp_path_factory.mktemp("own")
    fresh(
        folder,
        *(f"keras.src.layers.{name}" for name in SUITES),
        code=WAITS + OWN_TESTS,
        PYTHONPATH=os.pathsep.join(
            [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        GATEWISE_CALLS=str(folder / "calls.json"),
        JAX_DISABLE_MOST_OPTIMIZATIONS="1",  # hundreds of programs, each compiled for one call
    )
    return json.loads((folder / "calls.json").read_text())


def test_accelerate_before_keras_is_imported_waits_for_its_import(calls):
    """Neither a search for Keras nor a failed import of it turns the engine on too early."""
    assert calls


def test_keras_own_tests_pass_natively(calls):
    """They come unmodified from the installed wheel; the calls show that nothing fell back."""
    assert calls["native"] >= 60 and calls["stock"] <= 6  # half precision, and one lone cell
