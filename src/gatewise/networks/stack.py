"""The tutorials' network: stacked LSTMs, then dense layers.

For `classify` it reads the steps of a sequence and says a logit for each class; for `forecast` it
reads the window and says every step of the horizon at once.
"""

from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.networks.layers import (
    CONVOLUTION,
    DENSE,
    EMBEDDING,
    LSTM,
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
SETTINGS = LSTM | DENSE | names(network="bidirectional normalization pooling")
OF_TEXTS = SETTINGS | EMBEDDING | CONVOLUTION
OF_STEPS = SETTINGS | CONVOLUTION | names(network="gaussian_noise asinh_features summary_features")


def stack(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Stacked LSTMs over the steps, pooled, then dense layers to the answer."""
    # An LSTM reads sequences of any length, also where all those of training are equally long.
    wanted = {
        name: (None, *shape[1:]) if name == "steps" else shape
        for name, shape in shapes.inputs.items()
    }
    inputs = {
        name: keras.Input(shape, name=name, dtype="int32" if name == "tokens" else None)
        for name, shape in wanted.items()
    }
    if "past" in inputs:
        outputs = _forecast(inputs, shapes, settings)
    elif "tokens" in inputs:
        outputs = _classify(*embed(inputs["tokens"], shapes.vocabulary, settings), shapes, settings)
    else:
        outputs = _classify(*_masked(inputs["steps"], shapes), shapes, settings)
    # One input is given as a plain array, as in the tutorials; several by name.
    given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    return keras.Model(given, outputs, name="stack")


def _masked(steps: Any, shapes: Shapes) -> tuple[Any, Any]:
    """The steps with zeros for padding, and which of them are real; None: every one."""
    if shapes.padding is None:
        return steps, None
    mask = ops.any(ops.not_equal(steps, shapes.padding), axis=-1)
    return only(steps, mask, 0.0), mask


def _classify(x: Any, mask: Any, shapes: Shapes, settings: NetworkSettings) -> Any:
    beside = [statistics(x, mask)] if settings.summary_features else []
    if settings.asinh_features:
        x = fine(x, mask, settings.asinh_features)
    if settings.gaussian_noise:
        x = layers.GaussianNoise(settings.gaussian_noise)(x)
    x, mask = convolve(x, settings, mask)
    x = read(x, settings, mask=mask)
    x = dense(ops.concatenate([x, *beside], axis=-1) if beside else x, settings.dense, settings)
    return layers.Dense(shapes.output[0], name="logits")(x)


def _forecast(inputs: dict[str, Any], shapes: Shapes, settings: NetworkSettings) -> Any:
    horizon, targets, quantiles = shapes.output
    past = inputs["past"]  # [batch, lookback, targets]
    last = past[:, -1:, :]
    subtract = settings.subtract != "none"
    x = past - last if subtract else past
    if "covariates" in inputs:
        x = ops.concatenate([x, inputs["covariates"]], axis=-1)
    x = read(x, settings)
    # Weights are spent on what is known of the future only where there is something known.
    beside = [layers.Flatten()(inputs[name]) for name in ("future", "static") if name in inputs]
    x = ops.concatenate([x, *beside], axis=-1) if beside else x
    x = dense(x, settings.dense, settings)
    x = layers.Dense(horizon * targets * quantiles, name="steps_ahead")(x)
    x = layers.Reshape((horizon, targets, quantiles))(x)
    return x + ops.expand_dims(last, -1) if subtract else x
