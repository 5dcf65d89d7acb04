"""Values and their gradients, on each backend of Keras."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gatewise.data.sequences import Array
from gatewise.inspection.tracing import array_of, compiled

Function = Callable[..., Any]  # (tensors, *given) -> a tensor
Program = Callable[..., tuple[Array, list[Array]]]


def differentiated(function: Function) -> Program:
    """A program that returns the values of `function` and the gradients of their sum, in float64.

    It is called with a list of arrays, by each of which it differentiates, and with what else the
    function reads. The computation itself is in float32, like that of the model.
    """
    name = keras.backend.backend()
    run = BACKENDS[name](importlib.import_module(name), function)

    def program(arrays: list[Array], *given: Any) -> tuple[Array, list[Array]]:
        tensors = [ops.convert_to_tensor(one, dtype="float32") for one in arrays]
        values, found = run(tensors, *given)
        return array_of(values), [array_of(one) for one in found]

    return program


def _by_jax(jax: Any, function: Function) -> Function:
    def summed(tensors: list[Any], *given: Any) -> Any:
        values = function(tensors, *given)
        return ops.sum(values), values

    def run(tensors: list[Any], *given: Any) -> Any:
        (_, values), found = jax.value_and_grad(summed, has_aux=True)(tensors, *given)
        return values, found

    return compiled(run)


def _by_tensorflow(tensorflow: Any, function: Function) -> Function:
    def run(tensors: list[Any], *given: Any) -> Any:
        with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
            for one in tensors:
                tape.watch(one)
            values = function(tensors, *given)
        zero = tensorflow.UnconnectedGradients.ZERO
        return values, list(tape.gradient(values, tensors, unconnected_gradients=zero))

    return run


def _by_torch(torch: Any, function: Function) -> Function:
    def run(tensors: list[Any], *given: Any) -> Any:
        leaves = [one.detach().requires_grad_(True) for one in tensors]
        values = function(leaves, *given)
        found = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
        pairs = zip(leaves, found, strict=True)
        return values.detach(), [
            torch.zeros_like(leaf) if one is None else one.detach() for leaf, one in pairs
        ]

    return run


BACKENDS = {"jax": _by_jax, "tensorflow": _by_tensorflow, "torch": _by_torch}
