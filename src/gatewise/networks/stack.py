"""The tutorials' network: stacked LSTMs, then dense layers.

It reads the steps or the tokens of a sequence and gives a logit for each class.
"""

from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.networks.layers import (
    CONVOLUTION,
    DENSE,
    EMBEDDING,
    READ,
    convolve,
    dense,
    embed,
    fine,
    only,
    read,
    statistics,
)
from gatewise.settings import NetworkSettings, names

# The settings that every stack reads, and those of one over texts and over other sequences.
SETTINGS = READ | DENSE
OF_TEXTS = SETTINGS | EMBEDDING | CONVOLUTION
OF_STEPS = SETTINGS | CONVOLUTION | names(network="gaussian_noise asinh_features summary_features")


def stack(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Stacked LSTMs over the steps or tokens, pooled, then dense layers to the logits."""
    # An LSTM reads sequences of any length, also where all those of training are equally long.
    wanted = {
        name: (None, *shape[1:]) if name == "steps" else shape
        for name, shape in shapes.inputs.items()
    }
    inputs = {
        name: keras.Input(shape, name=name, dtype="int32" if name == "tokens" else None)
        for name, shape in wanted.items()
    }
    if "tokens" in inputs:
        outputs = _logits(*embed(inputs["tokens"], shapes.vocabulary, settings), shapes, settings)
    else:
        outputs = _logits(*_masked(inputs["steps"], shapes), shapes, settings)
    # One input is given as a plain array, as in the tutorials; several by name.
    given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    return keras.Model(given, outputs, name="stack")


def _masked(steps: Any, shapes: Shapes) -> tuple[Any, Any]:
    """The steps with zeros for padding, and which of them are real; None: every one."""
    if shapes.padding is None:
        return steps, None
    mask = ops.any(ops.not_equal(steps, shapes.padding), axis=-1)
    return only(steps, mask, 0.0), mask


def _logits(x: Any, mask: Any, shapes: Shapes, settings: NetworkSettings) -> Any:
    beside = [statistics(x, mask)] if settings.summary_features else []
    if settings.asinh_features:
        x = fine(x, mask, settings.asinh_features)
    if settings.gaussian_noise:
        x = layers.GaussianNoise(settings.gaussian_noise)(x)
    x, mask = convolve(x, settings, mask)
    x = read(x, settings, mask=mask)
    x = dense(ops.concatenate([x, *beside], axis=-1) if beside else x, settings.dense, settings)
    return layers.Dense(shapes.output[0], name="logits")(x)
