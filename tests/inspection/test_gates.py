"""Each number of an inspection against its definition, on models whose answers are known."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from gatewise.errors import ConfigError
from gatewise.inspection import gates
from gatewise.inspection.attribution import attributor, explained_weights, layer_gradients
from gatewise.inspection.gradients import differentiated
from gatewise.inspection.tracing import recorder


def model_of(*stack, features=3):
    return keras.Sequential([keras.Input((None, features)), *stack])


def record(model, x):
    return recorder(model)(x)


def attribute(model, x, *, explained):
    outputs = np.asarray(model.predict(x, verbose=0))
    return attributor(model)(x, explained_weights(outputs, explained))


def set_gates(layer, *, forget):
    """Zero weights, so that every gate depends on the bias alone."""
    kernel, recurrent, bias = (np.zeros(one.shape) for one in layer.cell.weights)
    bias[layer.units : 2 * layer.units] = np.log(forget / (1 - forget))
    layer.cell.set_weights([kernel, recurrent, bias])


@pytest.fixture
def x(random):
    return random.normal(size=(2, 5, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "outputs"),
    [
        (lambda: layers.LSTM(4, return_sequences=True), lambda h: h),
        (lambda: layers.LSTM(4, go_backwards=True, return_sequences=True), lambda h: h),
        (lambda: layers.LSTM(4, recurrent_activation="hard_sigmoid"), lambda h: h[:, -1]),
        (lambda: layers.LSTM(4, activation="swish", use_bias=False), lambda h: h[:, -1]),
    ],
    ids=["forwards", "backwards", "hard_sigmoid", "an activation of Keras alone"],
)
def test_the_recomputed_outputs_are_those_of_keras(layer, outputs, x):
    x[1, 3:] = 0  # masked
    calls, found = record(model_of(layers.Masking(), layer()), x)
    assert calls[0].mask.sum() == 8
    np.testing.assert_allclose(outputs(gates.trace(calls[0]).h), found, atol=1e-5)


def test_the_recorded_state_is_that_before_the_first_step(x):
    lstm = layers.LSTM(4, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=x.shape), lstm])
    model(x)
    before = [keras.ops.convert_to_numpy(one).copy() for one in lstm.states]
    calls, found = record(model, x)
    np.testing.assert_array_equal([calls[0].h, calls[0].c], before)
    np.testing.assert_allclose(gates.trace(calls[0]).h[:, -1], found, atol=1e-5)


def test_layers_inside_wrappers_and_models_are_found_in_order(x):
    inner = model_of(layers.LSTM(4, return_sequences=True, name="inner"))
    both = layers.Bidirectional(layers.LSTM(2, name="two"))
    calls, _ = record(model_of(inner, both), x)
    assert [one.name for one in calls] == ["inner", "forward_two", "backward_two"]
    assert [one.backwards for one in calls] == [False, False, True]


def test_a_model_without_an_lstm_is_refused(x):
    with pytest.raises(ConfigError, match=r"keras\.layers\.LSTM.*GRU"):
        record(model_of(layers.GRU(2)), x)


def test_a_forget_bias_sets_the_half_life(x):
    model = model_of(layers.LSTM(2))
    set_gates(model.layers[0], forget=np.array([0.5, 0.5 ** (1 / 7)]))
    traced = gates.trace(record(model, x)[0][0])
    np.testing.assert_allclose(gates.half_lives(traced.f, traced.mask), [1, 7], rtol=1e-5)


def test_padding_does_not_count(x):
    forget = np.full((1, 4, 1), 0.5)
    forget[:, 2:] = 0.999
    mask = np.array([[True, True, False, False]])
    assert gates.half_lives(forget, mask) == pytest.approx(1)
    assert gates.saturation(forget, mask) == {"mean": 0.5, "low": 0, "high": 0}


def test_saturation_counts_the_values_beyond_the_limits():
    values, mask = np.array([[[0.05], [0.5], [0.95], [0.99]]]), np.ones((1, 4), bool)
    assert gates.saturation(values, mask) == {"mean": 0.6225, "low": 0.25, "high": 0.5}


def test_dead_and_redundant_units_are_those_that_were_made_so(x):
    model = model_of(layers.LSTM(4))
    kernel, recurrent, bias = (one * 1 for one in model.layers[0].get_weights())
    columns = np.arange(16).reshape(4, 4)  # [gates, units]
    for weights in (kernel, recurrent, bias):
        weights[..., columns[:, 1]] = 0  # unit 1 is dead
        weights[..., columns[:, 3]] = weights[..., columns[:, 2]]  # unit 3 does what unit 2 does
    model.layers[0].set_weights([kernel, recurrent, bias])
    traced = gates.trace(record(model, x)[0][0])
    assert gates.dead_units(traced.h, traced.mask) == [1]
    assert gates.redundant_units(traced.h, traced.mask) == [(3, 2)]


def test_gradients_through_time_match_finite_differences(x, random):
    x[1, 3:] = 0
    model = model_of(layers.Masking(), layers.LSTM(4), layers.Dense(2, activation="tanh"))
    calls, outputs = record(model, x)
    weights = explained_weights(outputs, "mean")
    call, found = calls[0], layer_gradients(model, x, calls, weights)
    traced = gates.trace(call)
    by_h = gates.hidden_gradients(call, traced, found[0])
    kernel, bias = model.layers[-1].get_weights()

    def explained(step, change):
        """The number when h after `step` is changed, and the steps behind it read that h."""
        h, c = traced.h[:, step] + change, traced.c[:, step]
        rest = gates.trace(
            type(call)(
                **vars(call)
                | {"inputs": call.inputs[:, step + 1 :], "mask": call.mask[:, step + 1 :]}
                | {"h": h, "c": c}
            )
        )
        return (np.tanh(rest.h[:, -1] @ kernel + bias) * weights).sum()

    for step in (0, 2):
        change = random.normal(size=traced.h[:, 0].shape) * 1e-4
        slope = (explained(step, change) - explained(step, -change)) / 2
        assert slope == pytest.approx((by_h[:, step] * change).sum(), rel=1e-3)


def test_norms_are_aligned_at_the_last_real_step():
    found = np.array([[[3.0, 4.0], [1.0, 0.0]], [[2.0, 0.0], [9.0, 9.0]]])
    mask = np.array([[True, True], [True, False]])
    assert gates.norms_by_lag(found, mask).tolist() == [1.5, 5.0]
    assert gates.reach(np.array([8.0, 1.0, 1.0])) == 2
    assert gates.reach(np.zeros(3)) == 0


def test_the_path_holds_all_variance_of_states_in_a_plane(random):
    states = random.normal(size=(9, 2)) @ random.normal(size=(2, 6))
    places, shares = gates.path(states)
    assert shares.sum() == pytest.approx(1)
    distance = np.linalg.norm(states[0] - states[5])
    assert np.linalg.norm(places[0] - places[5]) == pytest.approx(distance)


def test_gradients_are_those_of_the_definition():
    cubes = differentiated(lambda arrays, factor: factor * arrays[0] ** 3)
    values, (cube, unused) = cubes([np.array([1.0, 2.0]), np.ones(2)], 1.0)
    assert values == pytest.approx([1, 8])
    assert cube == pytest.approx([3, 12])
    assert unused.tolist() == [0, 0]


def test_integrated_gradients_of_a_linear_model_are_exact(x):
    linear = keras.Sequential([keras.Input((5, 3)), layers.Flatten(), layers.Dense(1)])
    found = attribute(linear, x[:1], explained="mean")
    kernel = linear.layers[-1].get_weights()[0].reshape(5, 3)
    np.testing.assert_allclose(found.by_source[""], x[0] * kernel, atol=1e-5)
    assert found.error < 1e-4
    lost = {begin: change for begin, _, change in found.occlusion}
    assert lost[2] == pytest.approx(-(x[0, 2] * kernel[2]).sum(), abs=1e-5)


def test_integrated_gradients_of_an_lstm_are_complete_over_numbers_and_tokens(x, random):
    model = model_of(layers.LSTM(4), layers.Dense(3))
    found = attribute(model, x[:1], explained="largest")
    outputs = model.predict(x[:1], verbose=0)[0]
    assert found.value == pytest.approx(outputs.max(), abs=1e-5)
    assert found.error < 1e-3
    tokens = keras.Sequential(
        [keras.Input((None,)), layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3)]
    )
    found = attribute(tokens, np.array([[1, 5, 2, 0]]), explained="mean")
    assert found.error < 1e-3
    assert np.abs(found.by_source[tokens.layers[0].name][3]).max() == 0  # masked


def test_all_embeddings_of_the_same_tokens_are_explained_and_hidden_together():
    tokens = keras.Input((None,))
    table, other = layers.Embedding(9, 2, name="table"), layers.Embedding(9, 2, name="other")
    read = keras.ops.concatenate([table(tokens), table(8.0 - tokens), other(tokens)], axis=-1)
    model = keras.Model(tokens, keras.ops.sum(read, axis=(1, 2))[:, None])
    found = attribute(model, np.array([[1.0, 5.0, 2.0]]), explained="mean")
    once, twice = other.get_weights()[0], table.get_weights()[0]
    each = np.stack([once[k].sum() + twice[k].sum() + twice[8 - k].sum() for k in (1, 5, 2)])
    np.testing.assert_allclose(sum(one.sum(1) for one in found.by_source.values()), each, atol=1e-6)
    np.testing.assert_allclose([change for *_, change in found.occlusion], -each, atol=1e-6)


def test_a_half_life_of_ever_is_infinite():
    assert gates.half_lives(np.ones((1, 3, 1)), np.ones((1, 3), bool))[0] == math.inf
