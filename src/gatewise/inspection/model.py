"""Inspect a Keras model: what its LSTM layers do on given inputs, ready for JSON."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.errors import GatewiseError
from gatewise.inspection.advice import advice
from gatewise.inspection.attribution import (
    Explained,
    arrays_by_name,
    attributor,
    explained_weights,
    layer_gradients,
)
from gatewise.inspection.gates import describe, path, trace
from gatewise.inspection.tracing import lstm_layers, recorder
from gatewise.tasks.task import AnyTask
from gatewise.training.ready import Ready

MOST_EXAMPLES = 200  # that the statistics read
MOST_NUMBERS = 2_000_000  # of one gate over all examples, steps and units
TOP = 8  # columns of an example that are named
# Frameworks raise the first three for inputs that a network refuses; an LSTM layer of the user's
# own class may lack an attribute; we raise the last one.
UNREADABLE = (ValueError, TypeError, RuntimeError, AttributeError, GatewiseError)


def layers_of(model: keras.Model, inputs: Any, *, explained: Explained) -> list[dict[str, Any]]:
    """One entry for each call of an LSTM layer on these inputs."""
    calls, outputs = recorder(model)(inputs)
    weights = explained_weights(outputs, explained) / len(outputs)
    found = layer_gradients(model, inputs, calls, weights)
    steps = max(call.inputs.shape[1] for call in calls)
    arrays = arrays_by_name(inputs).values()
    steps = max([steps, *(one.shape[1] for one in arrays if one.ndim == 3)])
    return [describe(call, one, steps) for call, one in zip(calls, found, strict=True)]


def explainer(
    model: keras.Model, *, explained: Explained, columns: Sequence[str] = ()
) -> Callable[[Any], dict[str, Any]]:
    """A function of one example, a batch of 1: what its answer rests on."""
    record, attribute = recorder(model), attributor(model)

    def explain(inputs: Any) -> dict[str, Any]:
        calls, outputs = record(inputs)
        found = attribute(inputs, explained_weights(outputs, explained))
        last = trace(calls[-1])
        places, shares = path(last.h[0][last.mask[0]])
        return {
            "value": found.value,
            "at_baseline": found.at_baseline,
            "completeness_error": found.error,
            "occlusion": [list(one) for one in found.occlusion],
            "path": {
                "layer": calls[-1].name,
                "places": places.tolist(),
                "shares": shares.tolist(),
            },
            "sources": [_source(*pair, columns) for pair in found.by_source.items()],
        }

    return explain


def _source(name: str, values: Array, columns: Sequence[str]) -> dict[str, Any]:
    """What an answer rests on in one source: in all, by step and by column."""
    one: dict[str, Any] = {"name": name, "sum": float(values.sum())}
    if values.ndim >= 2:
        one["steps"] = values.reshape(len(values), -1).sum(axis=1).tolist()
    if values.ndim <= 2:
        each = values.sum(axis=0) if values.ndim == 2 else values
        labels = list(columns) if len(columns) == len(each) else list(map(str, range(len(each))))
        order = np.argsort(-np.abs(each), kind="stable")[:TOP]
        one["columns"] = {labels[k]: float(each[k]) for k in order}
    return one


def chosen(examples: Examples[Any], model: keras.Model, *, padded: bool) -> tuple[Array, int]:
    """The indices of the examples that the statistics read, and the length of their batch.

    They are spread evenly. Without padding they have one length, the most frequent one.
    """
    lengths = np.asarray(examples.lengths)
    places = np.arange(len(lengths))
    if not padded:
        values, counts = np.unique(lengths, return_counts=True)
        places = places[lengths == values[counts.argmax()]]
    longest = int(lengths[places].max())
    units = sum(layer.units for layer in lstm_layers(model))
    most = int(np.clip(MOST_NUMBERS // max(1, longest * units), 1, MOST_EXAMPLES))
    spread = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
    indices = places[np.unique(spread)]
    return indices, int(lengths[indices].max())


def inputs_of(examples: Examples[Any], model: keras.Model, indices: Array, length: int) -> Any:
    """The inputs of a model for these examples; a state that the model wants begins at zero."""
    arrays = {name: np.asarray(one) for name, one in examples.inputs(indices, length).items()}
    wanted = {one.name: one.shape for one in getattr(model, "inputs", None) or []}
    if len(wanted) > 1:
        states = {
            name: np.zeros((len(indices), shape[-1]), np.float32)
            for name, shape in wanted.items()
            if name not in arrays and len(shape) == 2
        }
        arrays = {name: one for name, one in arrays.items() if name in wanted} | states
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def summary(
    model: keras.Model,
    examples: Examples[Any],
    *,
    padded: bool,
    explained: Explained,
    season: int = 0,
    lookback: int = 0,
) -> dict[str, Any]:
    """The statistics of the layers on at most MOST_EXAMPLES examples, and the advice."""
    indices, length = chosen(examples, model, padded=padded)
    inputs = inputs_of(examples, model, indices, length)
    layers = layers_of(model, inputs, explained=explained)
    return {
        "examples": len(indices),
        "layers": layers,
        "advice": advice(season=season, lookback=lookback),
    }


def inspected(model: keras.Model, ready: Ready) -> dict[str, Any]:
    """The summary of a trained model on the validation part, for its report.

    What Keras and the frameworks raise for a network of the user that cannot be called so, or has
    no LSTM layers, becomes the sentence `failed` of the report, and the run is saved.
    """
    task, settings = ready.task, ready.experiment.task
    assert ready.validation is not None
    try:
        content = summary(
            model,
            ready.validation,
            padded=ready.preparation.padded,
            explained=explained_of(task, ready.preparation),
            season=settings.season,
            lookback=settings.lookback,
        )
    except UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"failed": f"The network was not inspected: {reason}"}
    for layer in content["layers"]:
        del layer["memory"]["half_lives"]  # the report shows their median and their maximum
    return content


def explained_of(task: AnyTask, preparation: Preparation[Any]) -> Explained:
    """The number that stands for the answer: the largest logit, or the mean of the numbers."""
    return "largest" if task.labelled or preparation.kind != "numbers" else "mean"
