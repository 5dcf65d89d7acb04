"""The network of the tutorials: stacked LSTMs, then dense layers.

It reads the steps or the tokens of a sequence and returns a logit for each class.
"""

from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.bigrams import BIGRAMS
from gatewise.networks.layers import (
    CONVOLUTION,
    DENSE,
    EMBEDDING,
    PRETRAINED,
    READ,
    convolve,
    dense,
    embed,
    evidence,
    fine,
    one_or_other,
    only,
    read,
    statistics,
)
from gatewise.settings import NetworkSettings, names

# The settings that every stack reads, and those of a stack over texts or over other sequences.
SETTINGS = READ | DENSE
OF_TEXTS = SETTINGS | EMBEDDING | PRETRAINED | CONVOLUTION
OF_STEPS = SETTINGS | CONVOLUTION | names(network="gaussian_noise asinh_features summary_features")


def stack(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Stacked LSTMs over the steps or tokens, pooling, then dense layers up to the logits."""
    inputs, x = features(shapes, settings)
    return keras.Model(inputs, layers.Dense(shapes.output[0], name="logits")(x), name="stack")


def features(shapes: Shapes, settings: NetworkSettings) -> tuple[Any, Any]:
    """The inputs, and what the last dense layer makes of them, [batch, features]."""
    inputs = inputs_of(shapes)
    beside = None
    if "tokens" in inputs:
        x, mask = embed(inputs["tokens"], "tokens", shapes, settings)
        if BIGRAMS in shapes.vocabulary:
            beside = evidence(inputs["tokens"], "tokens", shapes)
    else:
        x, mask = masked(inputs["steps"], shapes)
    # A single input is a plain array, as in the tutorials; several inputs go by name.
    model_inputs = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    x = _pooled(x, mask, settings)
    return model_inputs, x if beside is None else one_or_other(x, beside)


def inputs_of(shapes: Shapes) -> dict[str, Any]:
    """The inputs of a network over steps or tokens of any length."""
    # The length stays open even if all training sequences have the same one: LSTMs read any length.
    input_shapes = {
        name: (None, *shape[1:]) if name == "steps" else shape
        for name, shape in shapes.inputs.items()
    }
    return {
        name: keras.Input(shape, name=name, dtype="int32" if name == "tokens" else None)
        for name, shape in input_shapes.items()
    }


def masked(steps: Any, shapes: Shapes) -> tuple[Any, Any]:
    """The steps with zeros for padding, and their mask; None if there is no padding."""
    if shapes.padding is None:
        return steps, None
    mask = ops.any(ops.not_equal(steps, shapes.padding), axis=-1)
    return only(steps, mask, 0.0), mask


def _pooled(x: Any, mask: Any, settings: NetworkSettings) -> Any:
    beside = [statistics(x, mask)] if settings.summary_features == "yes" else []
    if settings.asinh_features:
        x = fine(x, mask, settings.asinh_features)
    if settings.gaussian_noise:
        x = layers.GaussianNoise(settings.gaussian_noise)(x)
    x, mask = convolve(x, settings, mask)
    x = read(x, settings, mask=mask)
    x = ops.concatenate([x, *beside], axis=-1) if beside else x
    return dense(x, settings.dense, settings)
