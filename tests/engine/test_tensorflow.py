"""`engine.tensorflow.lstm` against the reference, and in all of TensorFlow's modes."""

import gc
import logging
import subprocess
import sys
from functools import partial

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf
from framework import misfits, random_layer
from hypothesis import given, settings
from keras import layers
from keras.src.backend.tensorflow.trainer import TFEpochIterator

import gatewise
from gatewise.engine import hook, library, reference
from gatewise.engine import tensorflow as engine
from gatewise.engine.contract import (
    ACTIVATIONS,
    APART,
    DIFFERENTIABLE,
    JOINED,
    NONE,
    Arrays,
    Direction,
)
from gatewise.engine.tensorflow import Plan, lstm
from gatewise.errors import EngineError


def layer(seed=0, *, dtype="float64", **how):
    """Return random arrays of one layer."""
    return random_layer(
        lambda one: tf.constant(one, one.dtype if one.dtype == bool else dtype), seed, **how
    )


def total(found):
    """Reduce the outputs to one number in which each element has its own weight."""

    def weighed(one):
        size = tf.cast(tf.size(one), one.dtype)
        weights = 1 + tf.reshape(tf.range(size, dtype=one.dtype), tf.shape(one)) / size
        return tf.reduce_sum(tf.sin(one) * weights)

    return tf.add_n([weighed(one) for one in tf.nest.flatten(found)])


def chosen(some):
    return [{name: getattr(one, name) for name in DIFFERENTIABLE} for one in some]


def gradients(function, some):
    """Return the gradients of `total` by every array that has one."""
    sources = chosen(some)
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = total(function(some))
    return tape.gradient(loss, sources)


def plain(directions, outputs=APART):
    def run(some):
        present = tuple(tuple(one is not None for one in arrays) for arrays in some)
        return engine._plain(Plan(tuple(directions), outputs, present), some)

    return run


def assert_close(ours, theirs, rtol=1e-9, atol=1e-10):
    close = partial(np.testing.assert_allclose, rtol=rtol, atol=atol)
    tf.nest.map_structure(close, tf.nest.flatten(ours), tf.nest.flatten(theirs))


@settings(max_examples=25)
@given(
    sizes=st.fixed_dictionaries(
        {
            "batch": st.integers(1, 9),
            "steps": st.integers(1, 7),
            "features": st.integers(1, 37),
            "units": st.integers(1, 35),
        }
    ),
    activations=st.tuples(*[st.sampled_from(list(ACTIVATIONS))] * 2),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
def test_outputs_are_those_of_the_reference(sizes, activations, masked, seed):
    arrays = layer(seed, masked=masked, scale=0.2, dtype="float32", **sizes)
    (y,), [(h, c)] = lstm([arrays], [Direction(*activations)])
    x, mask, *rest = [None if one is None else one.numpy().astype("float64") for one in arrays[:7]]
    mask = None if mask is None else mask.astype(bool)
    expected = reference.lstm(x, *rest, mask=mask, activations=activations)
    assert_close((y, h, c), expected, rtol=2e-5, atol=2e-6)


BOTH = [Direction(), Direction(go_backwards=True, flip=True)]
WAYS = {
    "forward": ([Direction()], APART),
    "backward": ([Direction(go_backwards=True)], APART),
    "zero output": ([Direction(zero_output=True)], APART),
    "zeros first": ([Direction(start_output=False)], APART),
    "states only": ([Direction(go_backwards=True)], NONE),
    "flipped": ([Direction(flip=True)], APART),
    "both directions": (BOTH, APART),
    "joined": (BOTH, JOINED),
}


@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("name", WAYS)
def test_every_direction_gives_what_plain_tensorflow_gives(name, dropout):
    directions, outputs = WAYS[name]
    some = [
        layer(seed, dropout=dropout, **size)
        for seed, size, _ in zip(range(2), [{}, {"units": 3}], directions, strict=False)
    ]

    def ours(some):
        return lstm(some, directions, sequences=outputs != NONE, joined=outputs == JOINED)

    theirs = plain(directions, outputs)
    assert_close(ours(some), theirs(some))
    expected = gradients(theirs, some)
    assert_close(gradients(ours, some), expected)
    assert_close(tf.function(partial(gradients, ours))(some), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_central_differences(activation):
    other = ACTIVATIONS[(ACTIVATIONS.index(activation) + 1) % len(ACTIVATIONS)]
    arrays = layer(3)
    ours = partial(lstm, directions=[Direction(activation, other)])
    [found] = gradients(ours, [arrays])
    random = np.random.default_rng(0)
    for name, gradient in found.items():
        value = getattr(arrays, name)
        along = tf.constant(random.normal(size=value.shape))
        up, down = (
            total(ours([arrays._replace(**{name: value + by * along})])) for by in (1e-5, -1e-5)
        )
        expected = pytest.approx(float(up - down) / 2e-5, rel=1e-5, abs=1e-7)
        assert float(tf.reduce_sum(gradient * along)) == expected


def nodes(concrete, name):
    return [one for one in concrete.graph.as_graph_def().node if one.op == name]


def test_only_wanted_gradients_are_computed():
    arrays = layer()

    @tf.function
    def run(kernel):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            loss = total(lstm([arrays._replace(kernel=kernel)], [Direction()]))
        return tape.gradient(loss, kernel)

    concrete = run.get_concrete_function(arrays.kernel)
    (backward,) = nodes(concrete, "Gatewise>Backward")
    assert list(backward.attr["layers"].list.i)[-1] == 8  # of the kernel alone
    (forward,) = nodes(concrete, "Gatewise>Sequences")
    assert forward.attr["training"].b

    concrete = tf.function(lambda: lstm([arrays], [Direction()])[0][0]).get_concrete_function()
    assert not nodes(concrete, "Gatewise>Sequences")[0].attr["training"].b


def test_one_trace_serves_all_sizes_of_batch_and_steps():
    arrays, shapes = layer(dropout=True), []
    spec = [tf.TensorSpec([None, None, 4], "float64"), tf.TensorSpec([None, None], "bool")]

    @tf.function(input_signature=spec)
    def run(x, mask):
        with tf.GradientTape() as tape:
            tape.watch(x)
            zeros = tf.zeros((tf.shape(x)[0], 5), x.dtype)
            used = Arrays(x, mask, zeros, zeros, *arrays[4:7])
            (y,), [(h, _), _] = lstm([used, used], BOTH, joined=True)
            shapes.extend(one.shape.as_list() for one in (y, h))
            loss = total(y)
        gradient = tape.gradient(loss, x)
        shapes.append(gradient.shape.as_list())
        return y, gradient

    for batch, steps in [(3, 6), (1, 1), (5, 2), (0, 3)]:
        other = layer(1, batch=max(batch, 1), steps=steps)
        x, mask = other.x[:batch], other.mask[:batch]
        found, gradient = run(x, mask)
        assert found.shape == (batch, steps, 10) and gradient.shape == x.shape
        if batch:
            zeros = tf.zeros((batch, 5), "float64")
            used = Arrays(x, mask, zeros, zeros, *arrays[4:7])
            assert_close(found, plain(BOTH, JOINED)([used, used])[0][0])
    assert shapes == [[None, None, 10], [None, 5], [None, None, 4]]
    assert run.experimental_get_tracing_count() == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="x has no steps"):
        run(arrays.x[:, :0], arrays.mask[:, :0])


def test_no_sequences_have_no_gradient():
    none = layer(dropout=True)
    none = none._replace(
        **{name: getattr(none, name)[:0] for name in ("x", "mask", "h0", "c0")},
        input_masks=none.input_masks[:, :0],
        recurrent_masks=none.recurrent_masks[:, :0],
    )
    run = tf.function(
        lambda x, mask, h0, c0, of_x, of_h: gradients(
            partial(lstm, directions=[Direction()]),
            [Arrays(x, mask, h0, c0, *none[4:7], of_x, of_h)],
        )
    )
    given = [none.x, none.mask, none.h0, none.c0, none.input_masks, none.recurrent_masks]
    axes = [0, 0, 0, 0, 1, 1]
    spec = [
        tf.TensorSpec([None if n == axis else size for n, size in enumerate(one.shape)], one.dtype)
        for one, axis in zip(given, axes, strict=True)
    ]
    [found] = run.get_concrete_function(*spec)(*given)
    assert all(not np.any(one) for one in found.values())


def gradient(f):
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x)

    return run


def asked_twice(f):
    """A persistent tape still has what the backward pass overwrites."""

    def run(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = f(x)
        return [tape.gradient(y, x), tape.gradient(y, x)]

    return run


def jacobian(f):
    def run(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = tf.stack([f(x), 2 * f(x)])
        return tape.jacobian(y, x, experimental_use_pfor=False)

    return run


def forward_mode(f):
    def run(x):
        with tf.autodiff.ForwardAccumulator(x, tf.cos(x)) as accumulator:
            y = f(x)
        return accumulator.jvp(y)

    return run


def of_graph(f):
    """Symbolic gradients, as in TensorFlow 1, run the forward pass again."""
    return tf.function(lambda x: tf.gradients(f(x), x)[0])


def loop(f):
    return lambda x: tf.reduce_sum(
        tf.while_loop(lambda n, _: n < 2, lambda n, x: (n + 1, x + 0.01 * f(x)), (0, x))[1]
    )


def second(f):
    return gradient(lambda x: tf.reduce_sum(gradient(f)(x) ** 2))


# What is done with the kernels, and what is done with plain TensorFlow to the same end.
TRANSFORMS = {
    "eager": (gradient, gradient),
    "function": (lambda f: tf.function(gradient(f)), gradient),
    "tape over a function": (lambda f: gradient(tf.function(f)), gradient),
    "asked twice": (asked_twice, asked_twice),
    "asked twice in a function": (lambda f: tf.function(asked_twice(f)), asked_twice),
    "without a tape": (of_graph, gradient),
    "recomputed": (lambda f: gradient(tf.recompute_grad(f)), gradient),
    "loop": (lambda f: tf.function(gradient(loop(f))), lambda f: gradient(loop(f))),
    "condition": (
        lambda f: tf.function(
            gradient(lambda x: tf.cond(x[0, 0, 0] > 9, lambda: tf.reduce_sum(x), lambda: f(x)))
        ),
        gradient,
    ),
    "second derivative": (second, second),
    "second derivative in a function": (lambda f: tf.function(second(f)), second),
    "third derivative": (
        lambda f: gradient(lambda x: tf.reduce_sum(second(f)(x) ** 2)),
        lambda f: gradient(lambda x: tf.reduce_sum(second(f)(x) ** 2)),
    ),
    "jacobian": (jacobian, jacobian),
    "forward mode": (forward_mode, forward_mode),
    "vectorised map": (
        lambda f: lambda x: tf.vectorized_map(f, tf.stack([x, 2 * x])),
        lambda f: lambda x: tf.stack([f(x), f(2 * x)]),
    ),
}
TWO = ("function", "asked twice", "without a tape", "second derivative")


@pytest.mark.parametrize(
    ("name", "count"), [*((name, 1) for name in TRANSFORMS), *((name, 2) for name in TWO)]
)
def test_a_derivative_of_any_kind_is_that_of_plain_tensorflow(name, count):
    some = [layer(steps=2), layer(1, steps=2)][:count]

    def loss(function, x):
        return total(function([one._replace(x=x) for one in some]))

    transform, other = TRANSFORMS[name]
    ours = transform(partial(loss, partial(lstm, directions=BOTH[:count])))(some[0].x)
    theirs = other(partial(loss, plain(BOTH[:count])))(some[0].x)
    assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("batch, units", [(1, 7), (5, 16), (13, 70)])
def test_the_number_of_threads_changes_no_bit(batch, units):
    some = [layer(one, batch=batch, units=units, steps=20) for one in range(2)]
    before, found = library.threads(), []
    try:
        for count in (1, 2, 3):
            gatewise.set_threads(count)
            found.append(tf.nest.flatten(gradients(partial(lstm, directions=BOTH), some)))
    finally:
        gatewise.set_threads(before)
    for other in found[1:]:
        tf.nest.map_structure(np.testing.assert_array_equal, other, found[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spreads_as_in_plain_tensorflow(value):
    arrays = layer(masked=False)
    x = arrays.x.numpy()
    x[1, 3, 2] = value
    arrays = arrays._replace(x=tf.constant(x))
    ours, theirs = partial(lstm, directions=[Direction()]), plain([Direction()])
    assert_close(ours([arrays]), theirs([arrays]))
    assert np.isfinite(ours([arrays])[0][0][0]).all()  # the other rows are as they were
    pairs = [tf.nest.flatten(gradients(one, [arrays])) for one in (ours, theirs)]
    for one, two in zip(*pairs, strict=True):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(two))


def test_errors_are_not_above_those_of_plain_tensorflow():
    """The float32 error of each array is at most 1.5 times that of a float32 loop."""
    narrow = layer(7, dtype="float32", batch=16, steps=60, features=20, units=48, scale=0.3)
    wide = Arrays(
        *[
            one if one is None or one.dtype == bool else tf.cast(one, "float64")
            for one in narrow  # the same numbers
        ]
    )
    theirs = plain([Direction()])
    truth, ours, theirs = (
        [*tf.nest.flatten(run([some])), *tf.nest.flatten(gradients(run, [some]))]
        for run, some in [
            (theirs, wide),
            (partial(lstm, directions=[Direction()]), narrow),
            (theirs, narrow),
        ]
    )

    def errors(found):
        return np.array(
            [
                np.linalg.norm(one.numpy().astype("float64") - true) / np.linalg.norm(true)
                for one, true in zip(found, truth, strict=True)
            ]
        )

    assert (errors(ours) <= 1.5 * errors(theirs) + 1e-8).all()


def test_arrays_that_do_not_fit_are_refused():
    arrays = layer()
    for name, wrong in misfits(arrays).items():
        with pytest.raises(ValueError, match=f"{name} is .* the kernels need"):
            lstm([arrays._replace(**{name: wrong})], [Direction()])

    @tf.function(input_signature=[tf.TensorSpec([None, None], "float64")])
    def late(h0):
        return lstm([arrays._replace(h0=h0)], [Direction()])[0][0]

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"h0 has the shape \[1, 5\], and"):
        late(arrays.h0[:1])


# Keras on TensorFlow.


def network(*, deep=True):
    keras.utils.set_random_seed(0)
    first = [layers.Bidirectional(layers.LSTM(4, return_sequences=True))] if deep else []
    return keras.Sequential(
        [layers.Input((None, 3)), layers.Masking(), *first, layers.LSTM(5), layers.Dense(1)]
    )


def one_way():
    """LiteRT needs fixed sizes: it takes neither masks nor a variable number of steps."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((7, 3), batch_size=1), layers.LSTM(5), layers.Dense(1)])


def numbers(count=16, steps=7):
    random = np.random.default_rng(0)
    x = random.normal(size=(count, steps, 3)).astype("float32")
    x[0, 4:] = 0
    return x, random.normal(size=(count, 1)).astype("float32")


# Stock Keras gives the same without graphs, which take it seconds to build.
EAGER = {"run_eagerly": True}


def trained(model, data, **options):
    model.compile("sgd", "mse", **options)
    found = model.fit(data, epochs=2, shuffle=False, verbose=0).history["loss"]
    return [*found, *model.predict(data, verbose=0).ravel()]


def test_batches_of_different_lengths_train_as_on_stock_keras():
    """A generator gives batches of different lengths; the last batch is smaller."""

    def batches():
        for steps in (7, 4, 9):
            x, y = numbers(8, steps)
            yield x, y
        yield x[:3], y[:3]

    spec = (tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, 1]))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    data = data.apply(tf.data.experimental.assert_cardinality(4))
    with gatewise.accelerated(False):
        expected = trained(network(), data, **EAGER)
    before = hook.calls["native"]
    with gatewise.accelerated(engine="native"):
        np.testing.assert_allclose(trained(network(), data), expected, rtol=1e-4, atol=1e-5)
    assert hook.calls["native"] > before


def test_words_that_occur_twice_are_trained_as_by_keras():
    """Keras's Adam adds up the squares of their gradients."""
    words, y = np.array([[0, 1, 1, 2], [3, 3, 3, 0]]), np.ones((2, 1))

    def ends():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [layers.Input((4,)), layers.Embedding(5, 3), layers.LSTM(2), layers.Dense(1)]
        )
        model.compile("adam", "mse")
        model.fit(words, y, epochs=3, verbose=0)
        return model.get_weights()

    with gatewise.accelerated(False):
        expected = ends()
    with gatewise.accelerated():
        for one, other in zip(ends(), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_only_pipelines_of_keras_are_not_tuned():
    x, y = numbers()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    with gatewise.accelerated():
        for given, tuned in (((x, y), False), ((data,), None)):
            iterator = TFEpochIterator(tf.distribute.get_strategy(), *given)._get_iterator()
            assert iterator.options().autotune.enabled is tuned


def in_a_row(x):
    x = layers.LSTM(3, return_sequences=True, dropout=0.2)(layers.Masking()(x))
    return layers.BatchNormalization()(layers.Bidirectional(layers.LSTM(2))(x))


def branches(x):
    return layers.concatenate([layers.LSTM(2)(x), layers.LSTM(3)(x)])


def repeated(x):
    """Multiply in a loop, which TensorFlow would lower to operations that one thread refuses."""
    return tf.while_loop(lambda n, _: n < 3, lambda n, x: (n + 1, x * 0.9), (0, x))[1]


# What lies between input and output, and whether one thread runs a step.
GRAPHS = {
    "one layer": (layers.LSTM(3), True),
    "layers in a row": (in_a_row, True),
    "branches": (branches, False),
    "a layer of another kind": (lambda x: layers.GRU(2)(in_a_row(x)[:, None]), False),
    "a loop": (lambda x: layers.Lambda(repeated)(layers.LSTM(3)(x)), False),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_one_thread_runs_a_step_if_no_two_can_work(name, monkeypatch):
    between, alone = GRAPHS[name]
    x, y = numbers(11)
    found = []

    def is_chain(operations, was=engine._is_chain):
        found.append(was(operations))
        return found[-1]

    monkeypatch.setattr(engine, "_is_chain", is_chain)
    inputs = layers.Input((7, 3))
    model = keras.Model(inputs, layers.Dense(1)(between(inputs)))
    model.compile("adam", "mse")
    with gatewise.accelerated():
        model.fit(x, y, batch_size=4, epochs=2, validation_split=0.3, verbose=0)
    assert set(found) == {alone}


def losses(**options):
    """Train on batches of two sizes, in two fits of other data, with a single step after each."""
    model = network(deep=False)
    model.compile("adam", "mse", **options)
    found = []
    for count in (7, 10):
        x, y = numbers(count)
        fit = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        found += [*fit.history["loss"], model.train_on_batch(x[:3], y[:3])]
    return [*found, model.evaluate(x, y, batch_size=4, verbose=0)]


def test_steps_train_as_on_stock_keras_however_many_are_one_call():
    with gatewise.accelerated(False):
        expected = losses(**EAGER)
    with gatewise.accelerated(engine="native"):
        for steps in (1, 2):
            found = losses(steps_per_execution=steps)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_functions_run_eagerly_from_the_step_on_that_asks_for_it():
    x, y = numbers(16)
    eager = []

    class Loss(keras.losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            eager.append(tf.executing_eagerly())
            return super().call(y_true, y_pred)

    class Switch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            tf.config.run_functions_eagerly(batch == 2)

    model = network()
    model.compile("sgd", Loss())
    try:
        with gatewise.accelerated():
            model.fit(x, y, batch_size=4, verbose=0, callbacks=[Switch()])
    finally:
        tf.config.run_functions_eagerly(False)
    assert eager[-1] and not any(eager[:-1])


def test_a_model_does_not_keep_the_data_of_its_last_fit():
    x, y = numbers(16)
    model = network()
    model.compile("sgd", "mse")
    with gatewise.accelerated():
        model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, tf.data.Iterator)]


def test_what_is_compiled_by_xla_is_stock_keras(caplog):
    x, y = numbers()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    hook._said.clear()
    with gatewise.accelerated(False):
        expected = trained(network(deep=False), data, jit_compile=True)
    with caplog.at_level(logging.WARNING, "gatewise"), gatewise.accelerated():
        np.testing.assert_allclose(
            trained(network(deep=False), data, jit_compile=True), expected, rtol=1e-4, atol=1e-5
        )
    (said,) = [one.getMessage() for one in caplog.records if "XLA" in one.getMessage()]
    assert "Without jit_compile they run." in said
    caplog.clear()
    with caplog.at_level(logging.WARNING, "gatewise"), gatewise.accelerated(engine="native"):
        trained(network(deep=False), data, jit_compile="auto")
    assert not caplog.records


def test_ragged_input_is_named():
    ragged = tf.RaggedTensor.from_row_lengths(tf.ones((6, 3)), [2, 4])
    assert "RaggedTensor" in engine.why_not(ragged)


SAVED = """
import sys
import numpy as np
import tensorflow as tf
x = np.load("x.npy")
for name in sys.argv[1:]:
    if name.endswith(".tflite"):
        runner = tf.lite.Interpreter(name)
        given = runner.get_input_details()[0]["index"]
        runner.allocate_tensors()
        y = []
        for one in x:
            runner.set_tensor(given, one[None])
            runner.invoke()
            y.append(runner.get_tensor(runner.get_output_details()[0]["index"])[0])
    else:
        found = tf.saved_model.load(name)
        call = getattr(found, "serve", None) or found.signatures["serving_default"]
        y = call(tf.constant(x))
        y = list(y.values())[0] if isinstance(y, dict) else y
    np.save(name + ".npy", y)
assert "gatewise" not in sys.modules
"""

WRITERS = {
    "export": lambda model, path: model.export(path, verbose=False),
    "saved_model": lambda model, path: tf.saved_model.save(model, str(path)),
    "model.tflite": lambda model, path: path.write_bytes(
        tf.lite.TFLiteConverter.from_keras_model(model).convert()
    ),
}


def test_exported_files_need_no_gatewise(tmp_path):
    x, y = numbers()
    np.save(tmp_path / "x.npy", x)
    expected = {}
    for name, write in WRITERS.items():
        model = network() if name != "model.tflite" else one_way()
        with gatewise.accelerated(engine="native"):
            model.compile("sgd", "mse")
            model.fit(x, y, verbose=0)
            expected[name] = model.predict(x, verbose=0)  # compiled before it is exported
            write(model, tmp_path / name)
            before = hook.calls["native"]
            model(x)
            assert hook.calls["native"] > before  # and the engine is back
    subprocess.run([sys.executable, "-c", SAVED, *WRITERS], cwd=tmp_path, check=True, timeout=300)
    for name, one in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), one, rtol=1e-4, atol=1e-5)


def test_a_function_of_the_users_own_is_traced_anew_for_a_file(tmp_path):
    x, _ = numbers()
    module = tf.Module()
    module.model = network()
    with gatewise.accelerated(engine="native"):
        module.run = tf.function(module.model, input_signature=[tf.TensorSpec([None, None, 3])])
        expected = module.run(x)
        tf.saved_model.save(module, str(tmp_path / "model"))
        with pytest.raises(EngineError, match=r"gatewise.accelerated\(False\)"):
            traced = module.run.get_concrete_function()
            tf.saved_model.save(module, str(tmp_path / "other"), signatures=traced)
    assert b"Gatewise" not in (tmp_path / "model" / "saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert_close(loaded.run(x), expected, 1e-4, 1e-5)


PARTS = {
    "one row": (1, 32, {}),
    "fewer than a batch": (5, 32, {}),
    "a whole batch": (8, 8, {}),
    "more than a batch": (9, 8, {}),
    "shuffled": (8, 8, {"shuffle": True}),
    "with targets and weights": (5, 8, {"y": np.arange(5), "sample_weight": np.ones(5)}),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_single_batch_is_iterated_as_keras_does(name):
    rows, size, options = PARTS[name]
    x = {"a": np.arange(rows * 6.0).reshape(rows, 3, 2), "b": tf.range(rows)}
    found = []
    for on in (False, True):
        keras.utils.set_random_seed(0)
        with gatewise.accelerated(on):
            adapter = engine.ArrayDataAdapter(x, batch_size=size, **options)
            data = adapter.get_tf_dataset()
        found.append((data.element_spec, list(data)))
    (spec, expected), (our_spec, ours) = found
    assert our_spec == spec and len(ours) == len(expected)
    assert_close(ours, expected)


def test_a_mirrored_strategy_trains_as_without_it():
    x, y = numbers()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    expected = trained(network(), data, **EAGER)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    before = hook.calls["native"]
    with gatewise.accelerated(engine="native"), strategy.scope():
        found = trained(network(), data)
    assert hook.calls["native"] > before
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
