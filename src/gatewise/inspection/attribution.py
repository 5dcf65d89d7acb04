"""What an answer of a model rests on: gradients, integrated gradients and occlusion."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.inspection.gradients import differentiated
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

    def number(offsets: list[Any], inputs: Any, weights: Any) -> Any:
        left = iter(offsets)

        def shifted(layer: Any, call: Any, *arguments: Any, **options: Any) -> Any:
            outputs = call(*arguments, **options)
            if not layer.return_state:
                return outputs + next(left)
            return tuple(one + next(left) for one in outputs)

        with around(lstm_layers(model), shifted):
            return _weighted(first(model(inputs, training=False)), weights)

    zeros = [np.zeros_like(one) for call in calls for one in call.outputs]
    _, found = differentiated(number)(zeros, inputs, weights)
    flat = iter(found)
    return [[next(flat) for _ in range(count)] for count in counts]


def _weighted(outputs: Any, weights: Any) -> Any:
    """The outputs of each row times their weights, summed: [rows]."""
    each = ops.cast(outputs, "float32") * ops.convert_to_tensor(weights, dtype="float32")
    return ops.sum(ops.reshape(each, (each.shape[0], -1)), axis=1)


def arrays_by_name(inputs: Any) -> dict[str, Array]:
    """The inputs of a model by name; a single array has the name ""."""
    return {name: np.asarray(one) for name, one in _by_name(inputs).items()}


def _by_name(inputs: Any) -> dict[str, Any]:
    if isinstance(inputs, dict):
        return inputs
    if isinstance(inputs, list | tuple):
        return {str(k): one for k, one in enumerate(inputs)}
    return {"": inputs}


def _like(inputs: Any, arrays: dict[str, Any]) -> Any:
    """The arrays in the form of `inputs`."""
    if isinstance(inputs, dict):
        return arrays
    return list(arrays.values()) if isinstance(inputs, list | tuple) else arrays[""]


def _embeddings(model: keras.Model) -> list[Any]:
    return [one for one in model._flatten_layers() if isinstance(one, keras.layers.Embedding)]


def _sources(model: keras.Model) -> Callable[[Any], list[Source]]:
    """A function of inputs: those that hold real numbers, or the outputs of the embeddings.

    It raises ConfigError if several inputs hold tokens, or the inputs are not one row for each
    example.
    """
    embeddings, named = _embeddings(model), list[str]()

    def run(inputs: Any, tokens: Any) -> list[Any]:
        named.clear()
        found: list[Any] = []

        def recorded(layer: Any, call: Any, read: Any, *arguments: Any, **options: Any) -> Any:
            outputs = call(read, *arguments, **options)
            if _reads(read, tokens.shape[1:]):
                named.append(layer.name)
                found.append(outputs)
            return outputs

        with around(embeddings, recorded):
            model(inputs, training=False)
        return found

    program = compiled(run)

    def sources(inputs: Any) -> list[Source]:
        arrays = arrays_by_name(inputs)
        whole = [one for one in arrays.values() if embeddings and (one == np.round(one)).all()]
        integers = [one for one in arrays.values() if np.issubdtype(one.dtype, np.integer)]
        tokens = integers or (whole if len(arrays) == 1 else [])
        if len(tokens) > 1 or any(len(one) != 1 for one in arrays.values()):
            raise ConfigError(
                "The answers are not explained, because this network reads several inputs of "
                "tokens."
            )
        if not tokens:
            return [Source(name, array_of(one), embedded=False) for name, one in arrays.items()]
        found = program(inputs, tokens[0])
        pairs = zip(named, found, strict=True)
        return [Source(name, array_of(one), embedded=True) for name, one in pairs]

    return sources


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


def attributor(model: keras.Model) -> Callable[[Any, Array], Attribution]:
    """A function that gives integrated gradients and occlusion of one example.

    Its arguments are the inputs, a batch of 1, and the `explained_weights` of their outputs. The
    baseline is zero: the mean of a scaled column, or no embedding. Source: Sundararajan et al.
    2017.
    """
    sources = _sources(model)
    program = cache(lambda names: differentiated(partial(_numbers, model, names)))
    points, quadrature = np.polynomial.legendre.leggauss(POINTS)
    shares = np.concatenate([[1.0, 0.0], (points + 1) / 2])

    def attribute(inputs: Any, weights: Array) -> Attribution:
        given = sources(inputs)
        stretches, occluded = _occluded(given)
        rows = [
            np.concatenate([np.stack([one.values[0] * share for share in shares]), others])
            for one, others in zip(given, occluded, strict=True)
        ]
        names = () if given[0].embedded else tuple(one.name for one in given)
        values, found = program(names)(rows, inputs, weights)
        by_source: dict[str, Array] = {}
        total = 0.0
        for one, slopes in zip(given, found, strict=True):
            mean = np.tensordot(quadrature / 2, slopes[2 : len(shares)], axes=1)
            part = mean * one.values[0]
            # A table that is read twice has its attributions in one place.
            by_source[one.name] = by_source.get(one.name, 0) + part
            total += float(part.sum())
        value, at_baseline = float(values[0]), float(values[1])
        difference = value - at_baseline
        changes = (values[len(shares) :] - values[0]).tolist()
        return Attribution(
            value=value,
            at_baseline=at_baseline,
            by_source=by_source,
            error=abs(total - difference) / max(abs(difference), 1e-12),
            occlusion=[(*one, change) for one, change in zip(stretches, changes, strict=True)],
        )

    return attribute


def _numbers(
    model: keras.Model, names: tuple[str, ...], tensors: list[Any], inputs: Any, weights: Any
) -> Any:
    """The explained number of each row of the sources, [rows].

    The tensors are the inputs of these names; without names, the outputs of the embeddings.
    """
    rows = tensors[0].shape[0]
    arrays, left = _by_name(inputs), iter(tensors)

    def replaced(_layer: Any, call: Any, read: Any, *arguments: Any, **options: Any) -> Any:
        outputs = call(read, *arguments, **options)
        return outputs * 0.0 + next(left) if _reads(read, tensors[0].shape[1:-1]) else outputs

    if names:
        given = dict(zip(names, tensors, strict=True))
        arrays = {name: given[name] for name in arrays}
    else:
        arrays = {name: ops.repeat(one, rows, axis=0) for name, one in arrays.items()}
    with around([] if names else _embeddings(model), replaced):
        outputs = first(model(_like(inputs, arrays), training=False))
    return _weighted(outputs, weights)


def _occluded(given: list[Source]) -> tuple[list[tuple[int, int]], list[Array]]:
    """Stretches of steps, and the sources with one stretch of them zero in each row.

    The steps are those of the first sequence; without a sequence there are none. All embeddings of
    the same tokens are zero together.
    """
    place = next((k for k, one in enumerate(given) if one.values.ndim >= 3), None)
    if place is None:
        return [], [one.values[:0] for one in given]
    steps = given[place].values.shape[1]
    edges = np.unique(np.linspace(0, steps, min(steps, STRETCHES) + 1).round().astype(int))
    pairs = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    rows = [np.repeat(one.values, len(pairs), axis=0) for one in given]
    together = [place, *(k for k, one in enumerate(given) if one.embedded and k > place)]
    for k, (begin, end) in enumerate(pairs):
        for number in together:
            rows[number][k, begin:end] = 0.0
    return pairs, rows
