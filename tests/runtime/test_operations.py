"""Each layer and function in the runtime gives what Keras gives, on random weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from gatewise.engine import library
from gatewise.errors import ConfigError
from gatewise.runtime import graph
from gatewise.runtime.describe import ACTIVATIONS, describe
from gatewise.runtime.network import Network
from gatewise.runtime.operations import FUNCTIONS

STEPS, FEATURES = 7, 3
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def randomised(model, random):
    """Give every weight random values; variances stay positive."""
    for variable in model.weights:
        if "seed" not in variable.path:
            values = random.normal(size=variable.shape).astype("float32")
            variable.assign(np.abs(values) + 0.5 if "variance" in variable.path else values)
    return model


def flat(structure):
    return [np.asarray(one) for one in keras.tree.flatten(structure)]


def assert_same(model, inputs, random):
    """The model and its graph, saved and read again, answer alike."""
    network = Network(describe(randomised(model, random)))
    wanted, found = flat(model.predict_on_batch(inputs)), flat(network(inputs))
    assert len(wanted) == len(found)
    for one, other in zip(wanted, found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, **TOLERANCE)
    return network


def steps(random, batch=4):
    return random.normal(size=(batch, STEPS, FEATURES)).astype("float32")


def padded(random):
    """Tokens, of which 0 is padding, in front, at the end, and everywhere."""
    tokens = random.integers(1, 9, size=(4, STEPS)).astype("int32")
    tokens[0, 4:], tokens[1, :2], tokens[2, 2:5], tokens[3] = 0, 0, 0, 0
    return tokens


def from_state(x, mask, **options):
    """A masked LSTM that starts from a state which depends on x."""
    state = [layers.Dense(4)(x[:, 0]), layers.Dense(4)(x[:, 1])]
    return layers.LSTM(4, **options)(x, initial_state=state, mask=mask)


# name -> x [batch, steps, features], mask [batch, steps] -> outputs
NETWORKS = {
    "last": lambda x, m: layers.LSTM(5)(x),
    "sequences": lambda x, m: layers.LSTM(5, return_sequences=True)(x),
    "states": lambda x, m: list(layers.LSTM(5, return_state=True)(x, mask=m)),
    "masked": lambda x, m: layers.LSTM(5, return_sequences=True)(x, mask=m),
    "masked last": lambda x, m: layers.LSTM(5)(x, mask=m),
    "zero": lambda x, m: layers.LSTM(5, return_sequences=True, zero_output_for_mask=True)(
        x, mask=m
    ),
    "backwards": lambda x, m: layers.LSTM(5, return_sequences=True, go_backwards=True)(x, mask=m),
    "no bias": lambda x, m: layers.LSTM(
        5, use_bias=False, activation="relu", recurrent_activation="hard_sigmoid"
    )(x),
    "not native": lambda x, m: layers.LSTM(
        5, activation="gelu", return_sequences=True, go_backwards=True
    )(x, mask=m),
    "both ways": lambda x, m: layers.Bidirectional(layers.LSTM(4, return_sequences=True))(
        x, mask=m
    ),
    "both last": lambda x, m: layers.Bidirectional(layers.LSTM(4), merge_mode="sum")(x, mask=m),
    "both states": lambda x, m: list(
        layers.Bidirectional(layers.LSTM(4, return_state=True, return_sequences=True), "ave")(x)
    ),
    "both apart": lambda x, m: list(layers.Bidirectional(layers.LSTM(4), merge_mode=None)(x)),
    "from state": lambda x, m: from_state(x, m, return_sequences=True),
    "from state, last": lambda x, m: [
        from_state(x, m),
        from_state(x, m, go_backwards=True),
        from_state(x, m, unroll=True),
        from_state(x, m, zero_output_for_mask=True),
    ],
    "convolution": lambda x, m: layers.Conv1D(4, 3, strides=2, padding="same", activation="relu")(
        x
    ),
    "causal": lambda x, m: layers.Conv1D(6, 2, dilation_rate=2, padding="causal", groups=3)(x),
    "pooling": lambda x, m: [
        layers.MaxPooling1D(2, padding="same")(x),
        layers.MaxPooling1D(3, strides=1)(x),
        layers.AveragePooling1D(3, strides=2, padding="same")(x),
        layers.GlobalMaxPooling1D()(x),
        layers.GlobalAveragePooling1D()(x),
        layers.GlobalAveragePooling1D(keepdims=True)(x, mask=m),
    ],
    "normalization": lambda x, m: [
        layers.BatchNormalization()(x),
        layers.BatchNormalization(scale=False, center=False)(x),
        layers.LayerNormalization()(x),
        layers.LayerNormalization(scale=False)(x),
    ],
    "shapes": lambda x, m: [
        layers.Flatten()(x),
        layers.Reshape((-1, 1, FEATURES))(x),
        layers.Permute((2, 1))(x),
        layers.RepeatVector(3)(x[:, 0]),
        layers.ZeroPadding1D((2, 1))(x),
        layers.Cropping1D((1, 2))(x),
        layers.UpSampling1D(2)(x),
        layers.Rescaling(0.5, offset=2.0)(x),
    ],
    "merging": lambda x, m: (
        [
            one()([x, 2 * x, x[:, ::-1]])
            for one in (
                layers.Add,
                layers.Multiply,
                layers.Average,
                layers.Maximum,
                layers.Concatenate,
            )
        ]
        + [layers.Subtract()([x, x + 1])]
    ),
    "attention": lambda x, m: [
        layers.Attention()([x[:, :2], x], mask=[m[:, :2], m]),
        *layers.Attention(use_scale=True)([x, x, x + 1], return_attention_scores=True),
    ],
    "activations": lambda x, m: [
        *(layers.Activation(name)(x) for name in sorted(ACTIVATIONS)),
        *(layers.ReLU(4.0, 0.1, 0.5)(x), layers.LeakyReLU(0.3)(x), layers.ELU(0.7)(x)),
        *(layers.Softmax()(x), ops.relu(x), ops.sigmoid(x), ops.tanh(x), ops.silu(x)),
    ],
    "distributed": lambda x, m: layers.TimeDistributed(layers.Dense(2, activation="tanh"))(x),
    "training only": lambda x, m: layers.Dense(2)(
        layers.GaussianNoise(0.1)(layers.SpatialDropout1D(0.2)(layers.Dropout(0.3)(x)))
    ),
    "arithmetic": lambda x, m: [
        *(x + 1, 1 - x, x * x, x / 2, -x, abs(x), x**2, x > 0.5, x <= 0, ops.square(x)),
        *(ops.where(m[..., None], x, 0.0), ops.maximum(x, 0), ops.logical_and(m, x[..., 0] > 0)),
        *(ops.arcsinh(x), ops.exp(x), ops.log(ops.sqrt(ops.abs(x) + 1)), ops.logical_not(m)),
        (ops.cast(m, "int32") + 6) % 4,
    ],
    "reductions": lambda x, m: [
        *(ops.sum(x, axis=1), ops.max(x, axis=(1, 2)), ops.any(m, axis=-1), ops.mean(x, axis=-1)),
        *(ops.logsumexp(x, axis=-1), ops.log_softmax(x), ops.softmax(x, axis=1)),
        *(ops.cumsum(ops.ones_like(x), axis=1) - 1, *ops.top_k(x, 2)),
        ops.sum(ops.cast(m, "int32"), axis=1),
    ],
    "pieces": lambda x, m: [
        *(x[:, -1:, :], x[..., 0], x[:, None, 1:5:2], ops.stack([x, x], axis=2)),
        *ops.split(x, [1, 4], axis=1),
        *(ops.repeat(x, 2, axis=1), ops.pad(x, ((0, 0), (1, 2), (0, 0))), ops.squeeze(x[:, :1], 1)),
        ops.take_along_axis(x, ops.cast(m, "int32")[..., None], axis=1),
        ops.take(x, ops.cast(m, "int32")[0], axis=1),
        ops.matmul(x, ops.transpose(x, (0, 2, 1))),
        ops.reshape(ops.concatenate([x, x], axis=-1), (-1, STEPS * 2, FEATURES)),
        *(ops.one_hot(ops.cast(m, "int32"), 3), ops.flip(x, axis=1), ops.zeros_like(x)),
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_operation_gives_what_keras_gives(name, random):
    x = keras.Input((STEPS, FEATURES), name="x")
    tokens = keras.Input((STEPS,), dtype="int32", name="tokens")
    model = keras.Model({"x": x, "tokens": tokens}, NETWORKS[name](x, ops.not_equal(tokens, 0)))
    assert_same(model, {"x": steps(random), "tokens": padded(random)}, random)


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])  # which the kernels have, and have not
def test_a_graph_outputs_what_the_loop_of_its_backend_outputs(backend, activation, random):
    x, m = keras.Input((STEPS, FEATURES)), keras.Input((STEPS,), dtype="bool")
    state = [layers.Dense(4)(x[:, 0]), layers.Dense(4)(x[:, 1])]
    options = {"activation": activation, "return_state": True}
    y = layers.LSTM(4, return_sequences=True, **options)(x, initial_state=state, mask=m)
    last, *after = layers.LSTM(4, **options)(x, initial_state=state, mask=m)
    model = randomised(keras.Model([x, m], [state[0], y[0], last, *after]), random)
    given = [steps(random), padded(random) != 0]
    h0, found, found_last, h, _ = flat(Network(describe(model, backend))(given))
    first = h0 if backend == "jax" else np.zeros_like(h0)
    before = np.cumsum(given[1], axis=1) == 0  # no step was unmasked so far
    assert before.any() and before[:, -1].any()
    wanted = np.where(before[..., None], first[:, None], flat(model.predict_on_batch(given))[1])
    np.testing.assert_allclose(found, wanted, **TOLERANCE)
    np.testing.assert_allclose(h[before[:, -1]], h0[before[:, -1]], **TOLERANCE)
    np.testing.assert_allclose(found_last[before[:, -1]], first[before[:, -1]], **TOLERANCE)


def test_masks_flow_from_embeddings_as_in_keras(random):
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.Dropout(0.5),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.LayerNormalization(),
            layers.LSTM(3, return_sequences=True, go_backwards=True),
            layers.TimeDistributed(layers.Dense(2)),
            layers.GlobalAveragePooling1D(),
        ]
    )
    assert_same(model, padded(random), random)


def test_masks_flow_through_masking_merging_and_attention(random):
    x = keras.Input((None, FEATURES))
    masked = layers.Masking(2.0)(x)
    both = layers.Concatenate()([masked, layers.Dense(2)(masked)])
    longer = layers.Concatenate(axis=1)([masked, x])
    outputs = [
        layers.LSTM(3)(both),
        layers.LSTM(3)(layers.Add()([masked, layers.Dense(FEATURES)(masked)])),
        layers.LSTM(3)(layers.Add()([masked, x])),
        layers.LSTM(3)(longer),
        layers.LSTM(3)(layers.Attention()([masked, masked])),
        layers.LSTM(3)(masked, initial_state=[masked[:, 0], masked[:, 1]]),
    ]
    given = steps(random)
    given[0, 3:], given[1, :2] = 2.0, 2.0
    assert_same(keras.Model(x, outputs), given, random)


def test_shared_layers_and_models_within_models(random):
    x = keras.Input((None, FEATURES))
    inner = keras.Sequential([keras.Input((None, FEATURES)), layers.LSTM(3, name="inner")])
    lstm = layers.LSTM(FEATURES, return_sequences=True)
    outputs = [inner(x), inner(lstm(lstm(x)))]
    network = assert_same(keras.Model(x, outputs), steps(random), random)
    names = [node.name for node in network.graph.nodes]
    assert len(set(names)) == len(names)
    held = [node.weights["kernel"] for node in network.graph.nodes if node.operation == "lstm"]
    assert len({id(one) for one in held}) == 2


def test_a_stateful_layer_continues_where_the_last_batch_ended(random):
    lstm = layers.LSTM(3, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(4, STEPS, FEATURES)), lstm])
    network = Network(describe(randomised(model, random)))
    lstm.reset_state()
    for _ in range(2):
        x = steps(random)
        np.testing.assert_allclose(network(x), keras.ops.convert_to_numpy(model(x)), **TOLERANCE)
    network.reset_state()
    lstm.reset_state()
    np.testing.assert_allclose(network(x), keras.ops.convert_to_numpy(model(x)), **TOLERANCE)


def test_numpy_alone_gives_what_the_kernels_give(random, monkeypatch):
    x = keras.Input((STEPS, FEATURES))
    model = keras.Model(x, layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x))
    network = Network(describe(randomised(model, random)))
    given = steps(random)
    native = network(given)
    monkeypatch.setattr(library, "why_not", lambda: "it was not built")
    np.testing.assert_allclose(network(given), native, **TOLERANCE)


def test_a_saved_graph_is_read_as_it_was(random, tmp_path):
    x = keras.Input((None, FEATURES), name="x")
    lstm = layers.LSTM(FEATURES, return_sequences=True)
    network = Network(describe(keras.Model({"x": x}, {"y": lstm(lstm(x))[:, -1]})))
    graph.save({"": network.graph}, tmp_path / "graph.json", tmp_path / "graph.npz")
    again = graph.load(tmp_path / "graph.json", tmp_path / "graph.npz")[""]
    given = {"x": steps(random)}
    np.testing.assert_array_equal(Network(again)(given)["y"], network(given)["y"])
    kernels = [node.weights["kernel"] for node in again.nodes if node.operation == "lstm"]
    assert kernels[0] is kernels[1]


def test_every_operation_is_described_and_implemented():
    assert set(graph.OPERATIONS) == {"input", "lstm", *FUNCTIONS}


class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


UNKNOWN = {
    "Layer twice is a Doubled": lambda x: Doubled(name="twice")(x),
    "Layer gru is a GRU": lambda x: layers.GRU(3, name="gru")(x),
    "holds a GRU": lambda x: layers.Bidirectional(layers.GRU(3), name="both")(x),
    "The model calls Einsum": lambda x: ops.einsum("btf->bft", x),
    "training=True": lambda x: layers.Dropout(0.5, name="drop")(x, training=True),
}


@pytest.mark.parametrize("sentence", UNKNOWN)
def test_a_layer_that_a_graph_cannot_hold_is_named_in_a_sentence(sentence):
    x = keras.Input((STEPS, FEATURES))
    with pytest.raises(ConfigError, match=sentence):
        describe(keras.Model(x, UNKNOWN[sentence](x)))
