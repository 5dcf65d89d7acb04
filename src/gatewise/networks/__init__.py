"""What the networks of all tasks share: the record `Network`, layers, building and checking."""

import importlib.util
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import keras

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.networks.predicting import outputs
from gatewise.settings import Experiment, NetworkSettings

Builder = Callable[[Shapes, NetworkSettings], keras.Model]

NEEDS = {
    "network.kernel_size": "network.filters",
    "network.strides": "network.filters",
    "network.dense_activation": "network.dense",
}
BYTES = 8  # of a weight in training, at least: itself and its gradient
BATCH = 256  # sequences that are asked about at once, where the steps of one are few
STEPS = 65_536  # in such a batch at most, so that long texts need no more memory than short ones


def plain_outputs(
    network: keras.Model, some: Examples, preparation: Preparation, _experiment: Experiment
) -> Any:
    """The network's raw outputs for all examples, in their order, of one shape for each."""
    steps = STEPS if preparation.kind != "numbers" else 0
    return outputs(network, some, BATCH, padded=preparation.padded, steps=steps)


def same_model(network: keras.Model) -> keras.Model:
    """The trained model is the one that is saved and asked."""
    return network


def no_extras(
    _network: keras.Model, _preparation: Preparation, _experiment: Experiment
) -> dict[str, Any]:
    """The task's own details are enough for the report."""
    return {}


@dataclass(frozen=True)
class Network:
    """The part of a task that needs the framework: `NETWORK` in `tasks/<name>/network.py`."""

    builders: Mapping[str, Builder]  # by network.kind; the first is also "auto"
    # Loss and metrics, as keras.Model.compile takes them.
    loss: Callable[[Experiment, Preparation], tuple[Any, list[Any]]]
    # (network.kind, kind of data) -> the settings of `[network]` that the builder reads
    settings: Callable[[str, str], frozenset[str]]
    # (model, examples, preparation, experiment) -> what the task's `answer` reads
    predict: Callable[[keras.Model, Examples, Preparation, Experiment], Any] = plain_outputs
    # The model that is saved: Keras's own layers, with the weights of the trained one.
    inference_model: Callable[[keras.Model], keras.Model] = same_model
    # What the report shows that only the network can say, beside the task's details.
    report_extras: Callable[[keras.Model, Preparation, Experiment], dict[str, Any]] = no_extras
    # Settings that only say how another one is used -> that one.
    needs: dict[str, str] = field(default_factory=lambda: dict(NEEDS))
    own_refused: str = ""  # why the user's own network cannot be used; "": it can
    per_step: bool = False  # an output for each step, and not one for the sequence


def build(
    shapes: Shapes,
    settings: NetworkSettings,
    own: Builder | None = None,
    *,
    network: Network,
    task: str,
) -> keras.Model:
    """The user's own network for these shapes, the kind that is named, or the task's default.

    Raises:
        ConfigError: the settings name no network of the task, or the user's own function cannot
            be used, or its model does not fit the shapes.
    """
    _check_names(settings)
    refuse_too_large(_least_weights(settings))
    own = own or (_from_file(settings.build) if settings.build else None)
    if own is None:
        if settings.kind == "auto":
            return next(iter(network.builders.values()))(shapes, settings)
        if settings.kind not in network.builders:
            known = ", ".join(["auto", *(name for name in network.builders if name)])
            raise ConfigError(
                f"network.kind = {settings.kind} is no network of {task}. Known: {known}."
            )
        return network.builders[settings.kind](shapes, settings)
    if network.own_refused:
        raise ConfigError(
            f"{task} takes no network of your own, because {network.own_refused}. Leave "
            "network.build and network= out."
        )
    model = _built(own, shapes, settings)
    _check_own(model, shapes, first=2 if network.per_step else 1)
    return model


def _check_own(model: Any, shapes: Shapes, *, first: int) -> None:
    """Refuse a model that could not be trained or loaded; `first` is the first axis to compare."""
    if not isinstance(model, keras.Model):
        raise ConfigError(f"Your network function must return a keras.Model. Received: {model!r}.")
    shape = model.output_shape
    given = tuple(shape[first:]) if isinstance(shape, tuple) else ()
    if given != tuple(shapes.output):
        raise ConfigError(
            f"Your network's output has shape {given}; this data needs {tuple(shapes.output)} "
            "(without the batch dimension)."
        )
    if any(isinstance(layer, keras.layers.Lambda) for layer in model._flatten_layers()):
        raise ConfigError(
            "Your network has a Lambda layer, which cannot be loaded safely again. Write it with "
            "keras.ops or a layer of your own."
        )
    last = model.layers[-1]
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    if len(shapes.output) == 1 and (softmax or isinstance(last, keras.layers.Softmax)):
        raise ConfigError(
            "Your network ends in a softmax, but it must return logits: leave the activation of "
            "the last layer out. gatewise takes the softmax itself."
        )


def _least_weights(settings: NetworkSettings) -> int:
    """Weights that these layers have at least, whatever they read: known before any is made."""
    between = zip((*settings.units[-1:], *settings.dense), settings.dense, strict=False)
    return 4 * sum(units**2 for units in settings.units) + sum(one * two for one, two in between)


def refuse_too_large(weights: int) -> None:
    """A network whose weights do not fit into the memory of the machine is not trained.

    Raises:
        ConfigError: weights and gradients alone are larger.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (needed := weights * BYTES) > memory:
        raise ConfigError(
            f"The network has at least {weights:,} weights. They and their gradients take "
            f"{needed / 1e9:,.0f} GB, and this machine has {memory / 1e9:,.0f}. Give smaller "
            "numbers to network.units, and to network.dense, convolution or kernel_size."
        )


def _check_names(settings: NetworkSettings) -> None:
    """Activations are known to Keras by their names."""
    for key in ("activation", "recurrent_activation", "dense_activation"):
        name = getattr(settings, key)
        try:
            keras.activations.get(name)
        except ValueError:
            known = [one for one in dir(keras.activations) if one.islower() and one[0] != "_"]
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else "See keras.activations."
            raise ConfigError(f"network.{key}: Keras has no activation '{name}'. {hint}") from None


def _built(own: Builder, shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    try:
        return own(shapes, settings)
    except Exception as error:
        # Code of the user's own may raise anything; where it did is what they need.
        place = traceback.extract_tb(error.__traceback__)
        here = next((one for one in place if one.filename != __file__), place[-1])
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"Your network function failed in {here.filename}, line {here.lineno}: "
            f"{type(error).__name__}: {reason}"
        ) from error


def _from_file(place: str) -> Builder:
    """The function that "file.py:function" names."""
    path, colon, name = place.rpartition(":")
    if not colon or not Path(path).is_file():
        raise ConfigError(
            f'network.build wants "file.py:function" of a file that is there. Received: {place!r}.'
        )
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Any = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{path} has no function {name}.")
    builder: Builder = found
    return builder
