"""Single steps on packed weights are those of the reference, and of whole sequences."""

import numpy as np
import pytest

from gatewise.engine import cells
from gatewise.engine.cells import Cells, Layer, Stepping
from gatewise.engine.reference import lstm
from gatewise.errors import EngineError

SIZES = [(3, 5), (5, 17), (17, 64)]


def layers(random, dtype=np.float32):
    return [
        Layer(
            *(random.normal(size=(n, 4 * units)).astype(dtype) / 4 for n in (features, units)),
            random.normal(size=4 * units).astype(dtype),
        )
        for features, units in SIZES
    ]


def by_reference(stack, x):
    """The states h and c of each layer in float64 after x [batch, steps, features]."""
    x, states = x.astype(np.float64), []
    for layer in stack:
        weights = [one.astype(np.float64) for one in layer[:3]]
        start = np.zeros((len(x), len(weights[1])))
        x, h, c = lstm(x, start, start, *weights)
        states.append((h, c))
    return [np.concatenate(part, axis=1) for part in zip(*states, strict=True)]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_steps_are_those_of_the_reference(random, batch):
    stack, x = layers(random), random.normal(size=(batch, 4, 3)).astype(np.float32)
    packed = Cells(stack)
    h = c = np.zeros((batch, packed.units), np.float32)
    stepping = Stepping(packed, batch)
    for t in range(4):
        h, c = packed(np.ascontiguousarray(x[:, t]), h, c)
        y = stepping.step(x[:, t])
    wanted = by_reference(stack, x)
    assert h == pytest.approx(wanted[0], abs=1e-5)
    assert c == pytest.approx(wanted[1], abs=1e-5)
    assert (stepping.states == [h, c]).all()
    assert (y == h[:, -64:]).all()


def test_weights_of_eight_bits_are_the_rounded_ones(random):
    stack, x = layers(random), random.normal(size=(2, 4, 3)).astype(np.float32)

    def rounded(weights):
        scale = np.abs(weights).max(axis=0) / 127
        return np.rint(weights / scale) * scale

    stepping = Stepping(Cells(stack, "int8"), 2)
    for t in range(4):
        stepping.step(x[:, t])
    near = [
        layer._replace(
            kernel=rounded(layer.kernel), recurrent_kernel=rounded(layer.recurrent_kernel)
        )
        for layer in stack
    ]
    assert stepping.states == pytest.approx(np.stack(by_reference(near, x)), abs=1e-5)
    assert stepping.states != pytest.approx(np.stack(by_reference(stack, x)), abs=1e-5)


def test_states_can_be_saved_and_restored(random):
    stepping, x = Stepping(Cells(layers(random))), random.normal(size=(6, 3))
    for one in x[:3]:
        stepping.step(one)
    saved = stepping.states
    wanted = [stepping.step(one).copy() for one in x[3:]]
    stepping.states = saved
    assert all((stepping.step(one) == y).all() for one, y in zip(x[3:], wanted, strict=True))


def test_what_cannot_be_packed_is_refused(random):
    stack = layers(random)
    with pytest.raises(EngineError, match="float32 or int8. Received: 'int4'"):
        Cells(stack, "int4")
    with pytest.raises(EngineError, match="do not accept a size"):
        Cells([stack[0], stack[2]])
    assert "activation 'swish' has no kernel" in cells.why_not(
        stack[0]._replace(activation="swish")
    )
    assert "not float32" in cells.why_not(layers(random, np.float64)[0])


def test_arrays_of_another_shape_are_refused(random):
    first, second = layers(random)[:2]
    for wrong in ({"kernel": first.kernel[:, 1:]}, {"bias": first.recurrent_kernel[0][1:]}):
        with pytest.raises(EngineError, match="is needed"):
            Cells([first._replace(**wrong), second])
    packed = Cells([first, second])
    state = np.zeros((1, packed.units), np.float32)
    with pytest.raises(EngineError, match="the layers need"):
        packed(np.zeros((1, 2), np.float32), state, state)
    with pytest.raises(EngineError, match="the layers need"):
        packed(np.zeros((1, 3), np.float32), state[:, 1:], state)
