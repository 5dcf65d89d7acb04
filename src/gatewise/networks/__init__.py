"""The code that the networks of all tasks share: the record `Network`, building and checking."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import keras

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.runtime.graph import ALONE
from gatewise.runtime.predicting import plain_outputs
from gatewise.settings import Experiment, NetworkSettings
from gatewise.usercode import failure, module_of

Builder = Callable[[Shapes, NetworkSettings], keras.Model]

NEEDS = {
    "network.kernel_size": "network.filters",
    "network.strides": "network.filters",
    "network.dense_activation": "network.dense",
    "training.frozen_epochs": "network.vectors",
    "training.pretrain_epochs": "training.pretrain",
}
BYTES = 8  # least bytes of a weight in training: the weight and its gradient


def only_model(
    network: keras.Model, _preparation: Preparation[Any], _experiment: Experiment
) -> dict[str, keras.Model]:
    """The trained model, alone."""
    return {ALONE: network}


def same_model(network: keras.Model) -> keras.Model:
    """Save the trained model as it is."""
    return network


def no_extras(
    _network: keras.Model, _preparation: Preparation[Any], _experiment: Experiment
) -> dict[str, Any]:
    """Add nothing to the details of the task."""
    return {}


@dataclass(frozen=True)
class Network:
    """The part of a task that needs the framework: `NETWORK` in `tasks/<name>/network.py`."""

    builders: Mapping[str, Builder]  # by network.kind; the first is also "auto"
    # Loss and metrics, for keras.Model.compile.
    loss: Callable[[Experiment, Preparation[Any]], tuple[Any, list[Any]]]
    # (network.kind, kind of data) -> the settings of `[network]` that the builder reads.
    settings: Callable[[str, str], frozenset[str]]
    # (model, examples, preparation, experiment) -> the outputs that the task's `postprocess` reads.
    predict: Callable[[keras.Model, Examples[Any], Preparation[Any], Experiment], Any] = (
        plain_outputs
    )
    # The model to save: Keras's own layers, with the weights of the trained model.
    inference_model: Callable[[keras.Model], keras.Model] = same_model
    # (saved model, preparation, experiment) -> the models that run without Keras, by name.
    runtime_models: Callable[
        [keras.Model, Preparation[Any], Experiment], dict[str, keras.Model]
    ] = only_model
    # Details for the report that only the network can compute.
    report_extras: Callable[[keras.Model, Preparation[Any], Experiment], dict[str, Any]] = no_extras
    # A setting that has an effect only together with another one -> the other one.
    needs: dict[str, str] = field(default_factory=lambda: dict(NEEDS))
    own_refused: str = ""  # the reason to refuse a user's own network; "": it is allowed
    per_step: bool = False  # one output for each step, whatever the shapes say


def build(
    shapes: Shapes,
    settings: NetworkSettings,
    own: Builder | None = None,
    *,
    network: Network,
    task: str,
) -> keras.Model:
    """Build the user's own network, the kind that the settings name, or the task's default.

    Raises:
        ConfigError: the task has no network of that kind, or the user's own function cannot be
            used, or its model does not match the shapes.
    """
    _check_names(settings)
    refuse_too_large(_least_weights(settings))
    own = own or (_from_file(settings.build) if settings.build else None)
    if own is None:
        if settings.kind == "auto":
            return next(iter(network.builders.values()))(shapes, settings)
        if settings.kind not in network.builders:
            known = ", ".join(["auto", *(name for name in network.builders if name)])
            raise ConfigError(f"{task} has no network.kind = {settings.kind}. Known: {known}.")
        return network.builders[settings.kind](shapes, settings)
    if network.own_refused:
        raise ConfigError(
            f"{task} does not accept a network of your own, because {network.own_refused}. Remove "
            "network.build and network=."
        )
    model = _built(own, shapes, settings)
    _check_own(model, shapes, first=2 if network.per_step or shapes.per_step else 1)
    return model


def _check_own(model: Any, shapes: Shapes, *, first: int) -> None:
    """Refuse a model that cannot be trained or loaded; `first` is the first axis to compare."""
    if not isinstance(model, keras.Model):
        raise ConfigError(f"Your network function must return a keras.Model. Received: {model!r}.")
    shape = model.output_shape
    received = tuple(shape[first:]) if isinstance(shape, tuple) else ()
    if received != tuple(shapes.output):
        raise ConfigError(
            f"Your network's output has shape {received}; this data needs {tuple(shapes.output)} "
            "(without the batch dimension)."
        )
    if any(isinstance(layer, keras.layers.Lambda) for layer in model._flatten_layers()):
        raise ConfigError(
            "Your network has a Lambda layer, which cannot be loaded safely. Use keras.ops or a "
            "layer class of your own instead."
        )
    last = model.layers[-1]
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    if len(shapes.output) == 1 and (softmax or isinstance(last, keras.layers.Softmax)):
        raise ConfigError(
            "Your network ends in a softmax, but it must return logits: remove the activation of "
            "the last layer. gatewise applies the softmax itself."
        )


def _least_weights(settings: NetworkSettings) -> int:
    """A lower bound of the number of weights, known before any layer is built."""
    pairs = zip((*settings.units[-1:], *settings.dense), settings.dense, strict=False)
    return 4 * sum(units**2 for units in settings.units) + sum(a * b for a, b in pairs)


def refuse_too_large(weights: int) -> None:
    """Refuse a network whose weights do not fit into the memory of the machine.

    Raises:
        ConfigError: the weights and the gradients alone are larger than the memory.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (size := weights * BYTES) > memory:
        raise ConfigError(
            f"The network has at least {weights:,} weights. They and their gradients take "
            f"{size / 1e9:,.0f} GB, but this machine has {memory / 1e9:,.0f} GB. Set smaller "
            "network.units, network.dense, network.filters or network.kernel_size."
        )


def _check_names(settings: NetworkSettings) -> None:
    """Refuse an activation that Keras does not know."""
    for key in ("activation", "recurrent_activation", "dense_activation"):
        name = getattr(settings, key)
        try:
            keras.activations.get(name)
        except ValueError:
            known = [word for word in dir(keras.activations) if word.islower() and word[0] != "_"]
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else "See keras.activations."
            raise ConfigError(f"network.{key}: Keras has no activation '{name}'. {hint}") from None


def _built(own: Builder, shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    try:
        return own(shapes, settings)
    except Exception as error:  # the user's code may raise anything
        raise ConfigError(f"Your network function failed: {failure(error)}.") from error


def _from_file(reference: str) -> Builder:
    """Import the function that "file.py:function" names."""
    path, colon, name = reference.rpartition(":")
    if not colon or not Path(path).is_file():
        raise ConfigError(
            'network.build must be "file.py:function", and the file must exist. Received: '
            f"{reference!r}."
        )
    try:
        module = module_of(path)
    except Exception as error:  # the user's code may raise anything
        raise ConfigError(
            f"network.build = {reference} cannot be imported: {failure(error)}."
        ) from error
    function: Any = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{path} has no function {name}.")
    builder: Builder = function
    return builder
