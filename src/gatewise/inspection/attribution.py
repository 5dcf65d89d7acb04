"""What an answer of a model rests on: gradients, integrated gradients and occlusion."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.inspection.gradients import gradients
from gatewise.inspection.tracing import Call, around, array_of, compiled, first, lstm_layers

POINTS = 32  # of the Gauss-Legendre quadrature along the path of integrated gradients
STRETCHES = 24  # into which occlusion cuts a sequence, at most

Explained = Literal["largest", "mean"]


@dataclass(frozen=True)
class Source:
    """An array of numbers that a model computes an answer from: an input, or an embedding."""

    name: str
    values: Array  # [batch, ...]
    embedded: bool


def explained_weights(outputs: Array, explained: Explained) -> Array:
    """The weights of the outputs, [batch, ...], in the number that is explained.

    `largest` is the largest output along the last axis, averaged over the other axes; `mean` is the
    mean of all outputs.
    """
    size = max(1, outputs[0].size)
    if explained == "mean" or outputs.shape[-1] == 1 or outputs.ndim == 1:
        return np.full(outputs.shape, 1.0 / size)
    hot = np.eye(outputs.shape[-1])[outputs.argmax(axis=-1)]
    return np.asarray(hot * outputs.shape[-1] / size)


def layer_gradients(
    model: keras.Model, inputs: Any, calls: list[Call], weights: Array
) -> list[list[Array]]:
    """For each call, the gradients of the explained number by what the layer returned."""
    counts = [len(call.outputs) for call in calls]

    def scalar(offsets: list[Any]) -> Any:
        left = iter(offsets)

        def shifted(layer: Any, call: Any, *arguments: Any, **options: Any) -> Any:
            outputs = call(*arguments, **options)
            if not layer.return_state:
                return outputs + next(left)
            return tuple(one + next(left) for one in outputs)

        with around(lstm_layers(model), shifted):
            return _weighted(first(model(inputs, training=False)), weights)

    zeros = [np.zeros_like(one) for call in calls for one in call.outputs]
    flat = iter(gradients(scalar, zeros))
    return [[next(flat) for _ in range(count)] for count in counts]


def _weighted(outputs: Any, weights: Array) -> Any:
    return ops.sum(ops.cast(outputs, "float32") * ops.convert_to_tensor(weights, dtype="float32"))


def arrays_by_name(inputs: Any) -> dict[str, Array]:
    """The inputs of a model by name; a single array has the name ""."""
    if isinstance(inputs, dict):
        return {name: np.asarray(one) for name, one in inputs.items()}
    if isinstance(inputs, list | tuple):
        return {str(k): np.asarray(one) for k, one in enumerate(inputs)}
    return {"": np.asarray(inputs)}


def _like(inputs: Any, arrays: dict[str, Any]) -> Any:
    """The arrays in the form of `inputs`."""
    if isinstance(inputs, dict):
        return arrays
    return list(arrays.values()) if isinstance(inputs, list | tuple) else arrays[""]


def _embeddings(model: keras.Model) -> list[Any]:
    return [one for one in model._flatten_layers() if isinstance(one, keras.layers.Embedding)]


def sources(model: keras.Model, inputs: Any) -> list[Source]:
    """The inputs that hold real numbers; or the outputs of the embeddings, if one holds tokens.

    Raises:
        ConfigError: several inputs hold tokens, or the inputs are not one row for each example.
    """
    arrays, embeddings = arrays_by_name(inputs), _embeddings(model)
    whole = [one for one in arrays.values() if embeddings and (one == np.round(one)).all()]
    integers = [one for one in arrays.values() if np.issubdtype(one.dtype, np.integer)]
    tokens = integers or (whole if len(arrays) == 1 else [])
    if len(tokens) > 1 or any(len(one) != 1 for one in arrays.values()):
        raise ConfigError(
            "The answers are not explained, because this network reads several inputs of tokens."
        )
    if not tokens:
        return [Source(name, array_of(one), embedded=False) for name, one in arrays.items()]
    found: list[Source] = []

    def recorded(layer: Any, call: Any, read: Any, *arguments: Any, **options: Any) -> Any:
        outputs = call(read, *arguments, **options)
        if _reads(read, tokens[0].shape[1:]):
            found.append(Source(layer.name, array_of(outputs), embedded=True))
        return outputs

    with around(embeddings, recorded):
        model(inputs, training=False)
    return found


def _reads(read: Any, shape: tuple[int, ...]) -> bool:
    """Whether an embedding reads the tokens, and not positions or a row of weights."""
    return tuple(read.shape[1:]) == shape


@dataclass(frozen=True)
class Attribution:
    """What one answer rests on."""

    value: float  # the explained number
    at_baseline: float  # the number at the baseline, where every source is zero
    by_source: dict[str, Array]  # each source: [steps, features], or [features] without steps
    error: float  # of completeness: |sum of attributions - difference| / |difference|
    occlusion: list[tuple[int, int, float]]  # first step, step after the last, change of the number


def attribute(model: keras.Model, inputs: Any, *, explained: Explained) -> Attribution:
    """Integrated gradients and occlusion of one example; `inputs` has a batch of 1.

    The baseline is zero: the mean of a scaled column, or no embedding. The explained number is the
    one of `explained_weights`. Source: Sundararajan et al. 2017.
    """
    given = sources(model, inputs)
    points, quadrature = np.polynomial.legendre.leggauss(POINTS)
    shares = np.concatenate([[1.0, 0.0], (points + 1) / 2])
    path = [np.stack([one.values[0] * share for share in shares]) for one in given]
    outputs = compiled(lambda: first(model(inputs, training=False)))
    weights = explained_weights(array_of(outputs), explained)
    along = _along(model, inputs, given, weights)
    values = _numbers(model, inputs, given, path, weights)
    found = gradients(lambda tensors: ops.sum(along(tensors)), path)
    by_source, total = {}, 0.0
    for one, slopes in zip(given, found, strict=True):
        mean = np.tensordot(quadrature / 2, slopes[2:], axes=1)
        by_source[one.name] = mean * one.values[0]
        total += float(by_source[one.name].sum())
    difference = float(values[0] - values[1])
    error = abs(total - difference) / max(abs(difference), 1e-12)
    return Attribution(
        value=float(values[0]),
        at_baseline=float(values[1]),
        by_source=by_source,
        error=error,
        occlusion=_occlusion(model, inputs, given, weights),
    )


def _along(
    model: keras.Model, inputs: Any, given: list[Source], weights: Array
) -> Callable[[list[Any]], Any]:
    """A function of the sources, each [rows, ...]: the explained number of each row, [rows]."""
    names = [one.name for one in given]
    embedded = bool(given) and given[0].embedded
    shape = given[0].values.shape[1:-1]  # of the tokens, if the sources are embeddings

    def numbers(tensors: list[Any]) -> Any:
        rows = tensors[0].shape[0]
        arrays: dict[str, Any] = {
            name: ops.convert_to_tensor(np.repeat(one, rows, axis=0))
            for name, one in arrays_by_name(inputs).items()
        }
        left = iter(tensors)

        def replaced(_layer: Any, call: Any, read: Any, *arguments: Any, **options: Any) -> Any:
            outputs = call(read, *arguments, **options)
            return outputs * 0.0 + next(left) if _reads(read, shape) else outputs

        if not embedded:
            arrays |= dict(zip(names, tensors, strict=True))
        with around(_embeddings(model) if embedded else [], replaced):
            outputs = first(model(_like(inputs, arrays), training=False))
        each = ops.cast(outputs, "float32") * ops.convert_to_tensor(weights, dtype="float32")
        return ops.sum(ops.reshape(each, (rows, -1)), axis=1)

    return numbers


def _numbers(
    model: keras.Model, inputs: Any, given: list[Source], rows: list[Array], weights: Array
) -> Array:
    tensors = [ops.convert_to_tensor(one, dtype="float32") for one in rows]
    return array_of(compiled(lambda: _along(model, inputs, given, weights)(tensors)))


def _occlusion(
    model: keras.Model, inputs: Any, given: list[Source], weights: Array
) -> list[tuple[int, int, float]]:
    """The change of the number when a stretch of steps of the first sequence becomes zero."""
    place = next((k for k, one in enumerate(given) if one.values.ndim >= 3), None)
    if place is None:
        return []
    steps = given[place].values.shape[1]
    edges = np.unique(np.linspace(0, steps, min(steps, STRETCHES) + 1).round().astype(int))
    pairs = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    rows = [np.repeat(one.values, len(pairs) + 1, axis=0) for one in given]
    for k, (begin, end) in enumerate(pairs, 1):
        rows[place][k, begin:end] = 0.0
    values = _numbers(model, inputs, given, rows, weights)
    return [
        (begin, end, float(value - values[0]))
        for (begin, end), value in zip(pairs, values[1:], strict=True)
    ]
