"""Gradients by inputs and by the outputs of layers, on each backend of Keras."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gatewise.data.sequences import Array
from gatewise.inspection.tracing import array_of, compiled

Scalar = Callable[[list[Any]], Any]


def gradients(scalar: Scalar, arrays: list[Array]) -> list[Array]:
    """The gradients of `scalar(tensors)` by each of the arrays, with their shapes, in float64.

    The computation itself is in float32, like that of the model.
    """
    name = keras.backend.backend()
    tensors = [ops.convert_to_tensor(one, dtype="float32") for one in arrays]
    if not tensors:
        return []
    return [array_of(one) for one in BACKENDS[name](importlib.import_module(name), scalar, tensors)]


def _by_jax(jax: Any, scalar: Scalar, tensors: list[Any]) -> list[Any]:
    return list(compiled(lambda: jax.grad(scalar)(tensors)))


def _by_tensorflow(tensorflow: Any, scalar: Scalar, tensors: list[Any]) -> list[Any]:
    with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
        for one in tensors:
            tape.watch(one)
        value = scalar(tensors)
    zero = tensorflow.UnconnectedGradients.ZERO
    return list(tape.gradient(value, tensors, unconnected_gradients=zero))


def _by_torch(torch: Any, scalar: Scalar, tensors: list[Any]) -> list[Any]:
    leaves = [one.detach().requires_grad_(True) for one in tensors]
    found = torch.autograd.grad(scalar(leaves), leaves, allow_unused=True)
    pairs = zip(leaves, found, strict=True)
    return [torch.zeros_like(leaf) if one is None else one.detach() for leaf, one in pairs]


BACKENDS = {"jax": _by_jax, "tensorflow": _by_tensorflow, "torch": _by_torch}
