"""The reference follows the published equations; its smallest cases are computed by hand."""

import numpy as np
import pytest

from gatewise.engine import contract
from gatewise.engine.reference import ACTIVATIONS, lstm


def test_one_step_of_one_unit_by_hand():
    x, h, c = np.array([[[2.0]]]), np.array([[0.5]]), np.array([[-1.0]])
    kernel = np.array([[0.1, 0.2, 0.3, 0.4]])
    recurrent_kernel = np.array([[0.5, 0.6, 0.7, 0.8]])
    bias = np.array([0.0, 1.0, 0.0, 0.0])
    outputs, last_h, last_c = lstm(x, h, c, kernel, recurrent_kernel, bias)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    i, f, g, o = sigmoid(0.45), sigmoid(1.7), np.tanh(0.95), sigmoid(1.2)
    cell = f * -1.0 + i * g
    assert last_c[0, 0] == pytest.approx(cell)
    assert outputs[0, 0, 0] == last_h[0, 0] == pytest.approx(o * np.tanh(cell))


def test_a_masked_step_changes_nothing():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 4))
    weights = [random.normal(size=shape) for shape in ((4, 8), (2, 8), (8,))]
    state = [random.normal(size=(2, 2)) for _ in "hc"]
    mask = np.array([[1, 0, 1], [1, 1, 1]], bool)
    outputs, h, c = lstm(x, *state, *weights, mask=mask)
    kept = lstm(x[:1, [0, 2]], *[one[:1] for one in state], *weights)
    np.testing.assert_allclose(h[0], kept[1][0], rtol=1e-12)
    np.testing.assert_allclose(c[0], kept[2][0], rtol=1e-12)
    np.testing.assert_array_equal(outputs[0, 1], outputs[0, 0])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_keras(name):
    import keras

    x = np.concatenate([np.linspace(-8, 8, 101), [-1e4, 1e4, -3, 3, 0, np.inf, -np.inf]])
    expected = np.asarray(getattr(keras.activations, name)(x.astype(np.float32)))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(ACTIVATIONS[name](x), expected, rtol=1e-6, atol=1e-7)


def test_the_kernels_know_the_same_activations():
    assert list(ACTIVATIONS) == list(contract.ACTIVATIONS)
