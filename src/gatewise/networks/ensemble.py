"""Several networks as one Keras model: each reads the same input, and their outputs are averaged.

Only layers of Keras are used, so plain Keras opens the saved model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.sequences import Array
from gatewise.networks.layers import masking, only
from gatewise.networks.stack import inputs_of

Affine = tuple[Array, Array]  # factor and offset
SAME: Affine = (np.ones(1), np.zeros(1))  # changes nothing


@dataclass(frozen=True)
class Member:
    """A trained network, and how its scales differ from those of the ensemble."""

    network: keras.Model
    inputs: Affine = SAME  # scaled steps of the ensemble -> of the member, [columns]
    outputs: Affine = SAME  # outputs of the member -> of the ensemble


def average(members: Sequence[Member], shapes: Shapes) -> keras.Model:
    """One model whose output is the mean of the members' outputs."""
    (inputs,) = inputs_of(shapes).values()
    outputs = []
    for number, member in enumerate(members, 1):
        network = keras.Model(
            member.network.inputs, member.network.outputs, name=f"network_{number}"
        )
        result = masking(network)(_rescaled(inputs, member.inputs, shapes, f"inputs_{number}"))
        result = result[0] if isinstance(result, list) else result
        if not _is_same(member.outputs):
            result = _affine(member.outputs, f"outputs_{number}")(result)
        outputs.append(result)
    mean = layers.Average(name="mean")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs, mean, name="ensemble")


def mean_of(networks: Sequence[keras.Model], shapes: Shapes) -> keras.Model:
    """One model whose output is the mean of these networks' outputs, whatever their inputs are."""
    dtypes = {tensor.name: tensor.dtype for one in networks for tensor in one.inputs}
    inputs = {
        name: keras.Input(shape, name=name, dtype=dtypes.get(name))
        for name, shape in shapes.inputs.items()
    }
    outputs = []
    for number, one in enumerate(networks, 1):
        given = [inputs[tensor.name] for tensor in one.inputs]
        network = keras.Model(one.inputs, one.outputs, name=f"network_{number}")
        result = network(given if len(given) > 1 else given[0])
        outputs.append(result[0] if isinstance(result, list) else result)
    single = next(iter(inputs.values()))
    mean = layers.Average(name="mean")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs if len(inputs) > 1 else single, mean, name="ensemble")


def _rescaled(inputs: keras.KerasTensor, change: Affine, shapes: Shapes, name: str) -> object:
    """The inputs in the scale of a member; padding stays padding."""
    if _is_same(change):
        return inputs
    steps = _affine(change, name)(inputs)
    if shapes.padding is None:
        return steps
    mask = ops.any(ops.not_equal(inputs, shapes.padding), axis=-1)
    return only(steps, mask, shapes.padding)


def _affine(change: Affine, name: str) -> keras.layers.Layer:
    factor, offset = change
    return layers.Rescaling(factor.tolist(), offset.tolist(), name=name)


def _is_same(change: Affine) -> bool:
    factor, offset = change
    return bool((factor == 1).all() and (offset == 0).all())
