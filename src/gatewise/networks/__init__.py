"""Keras models, built from plain Keras layers, so that a saved one opens without gatewise."""

import importlib.util
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import keras

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.experiment import Experiment, NetworkSettings
from gatewise.networks import language, losses, translate
from gatewise.networks.ctc import ctc, log_chances, of_transcripts
from gatewise.networks.predicting import outputs
from gatewise.networks.search import search
from gatewise.networks.segments import segments
from gatewise.networks.stack import stack
from gatewise.networks.tagger import flat_outputs, of_tags, tagger
from gatewise.tasks.task import Shapes

Builder = Callable[[Shapes, NetworkSettings], keras.Model]

BYTES = 8  # of a weight in training, at least: itself and its gradient
BATCH = 256  # sequences that are asked about at once, where the steps of one are few
STEPS = 65_536  # in such a batch at most, so that long texts need no more memory than short ones


def plain_outputs(
    network: keras.Model, some: Examples, preparation: Preparation, _experiment: Experiment
) -> Any:
    """The network's raw outputs for all examples, in their order, of one shape for each."""
    steps = STEPS if preparation.kind != "numbers" else 0
    return outputs(network, some, BATCH, padded=preparation.padded, steps=steps)


def itself(network: keras.Model) -> keras.Model:
    """What has learnt is what is kept."""
    return network


def nothing_more(
    _network: keras.Model, _preparation: Preparation, _experiment: Experiment
) -> dict[str, Any]:
    """The task's own details say all."""
    return {}


@dataclass(frozen=True)
class Learner:
    """How the network of a task is built, what it minimises and shows, and how it is asked."""

    build: Builder  # where network.kind = auto
    # Loss and metrics, as keras.Model.compile takes them.
    objective: Callable[[Experiment, Preparation], tuple[Any, list[Any]]]
    # (network, examples, preparation, experiment) -> what the task's `answer` reads
    outputs: Callable[[keras.Model, Examples, Preparation, Experiment], Any] = plain_outputs
    # What is saved of the network that has learnt: layers of Keras's own, with the same weights.
    kept: Callable[[keras.Model], keras.Model] = itself
    # What the report shows that only the network can say, beside the task's details.
    shown: Callable[[keras.Model, Preparation, Experiment], dict[str, Any]] = nothing_more


LEARNERS: dict[str, Learner] = {
    "forecast": Learner(segments, losses.of_forecasts),
    "classify": Learner(stack, losses.of_labels),
    "transcribe": Learner(ctc, of_transcripts, log_chances),
    "language": Learner(
        language.language, language.of_tokens, language.nats, language.kept, language.samples
    ),
    "tag": Learner(tagger, of_tags, flat_outputs),
    "translate": Learner(translate.translator, translate.objective, search, translate.kept),
}
NETWORKS: dict[str, Builder] = {"stack": stack, "segments": segments}
# Tasks that ask the layers of their own network by name, and why.
OWN_ONLY = {
    "language": "its state goes on from batch to batch",
    "translate": "its search asks the layers of its own one step by step",
}


def build(
    shapes: Shapes, settings: NetworkSettings, own: Builder | None = None, *, task: str = ""
) -> keras.Model:
    """The network for these shapes: the user's own, the one named, or the task's default.

    Without `task` it is forecast where the inputs hold a past, else classify.

    Raises:
        ConfigError: the user's own function cannot be used, or its model does not fit the shapes.
    """
    _check_names(settings)
    refuse_too_large(_least_weights(settings))
    _refuse_for_others(settings, task)
    task = task or ("forecast" if "past" in shapes.inputs else "classify")
    own = own or (_from_file(settings.build) if settings.build else None)
    if own is None:
        if settings.kind == "auto":
            return LEARNERS[task].build(shapes, settings)
        if task not in ("forecast", "classify"):
            raise ConfigError(f"{task} has a network of its own; leave network.kind at auto.")
        if settings.kind == "segments" and task != "forecast":
            raise ConfigError("network.kind = segments is for forecasts; use kind = stack.")
        return NETWORKS[settings.kind](shapes, settings)
    if task in OWN_ONLY:
        raise ConfigError(
            f"{task} takes no network of your own, for {OWN_ONLY[task]}. Leave network.build and "
            "network= out."
        )
    network = _built(own, shapes, settings)
    if not isinstance(network, keras.Model):
        raise ConfigError(
            f"Your network function must return a keras.Model. Received: {network!r}."
        )
    given = _output_shape(network, task)
    if given != tuple(shapes.output):
        raise ConfigError(
            f"Your network's output has shape {given}; this data needs {tuple(shapes.output)} "
            "(without the batch dimension)."
        )
    if any(isinstance(layer, keras.layers.Lambda) for layer in network._flatten_layers()):
        raise ConfigError(
            "Your network has a Lambda layer, which cannot be loaded safely again. Write it with "
            "keras.ops or a layer of your own."
        )
    last = network.layers[-1]
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    if len(shapes.output) == 1 and (softmax or isinstance(last, keras.layers.Softmax)):
        raise ConfigError(
            "Your network ends in a softmax, but it must return logits: leave the activation of "
            "the last layer out. gatewise takes the softmax itself."
        )
    return network


def _output_shape(network: keras.Model, task: str) -> tuple[Any, ...]:
    """What a network says of a sequence, or where each step is answered, of a step."""
    shape = network.output_shape
    first = 2 if task in ("tag", "transcribe") else 1
    return tuple(shape[first:]) if isinstance(shape, tuple) else ()


def _refuse_for_others(settings: NetworkSettings, task: str) -> None:
    """A setting that only the network of another task has a place for."""
    for key in ("characters", "word_dropout"):
        if task != "tag" and getattr(settings, key) != getattr(NetworkSettings(), key):
            raise ConfigError(f"network.{key} is for tag. Leave it out.")
    for key in ("weight_dropout", "candidates"):
        if task != "language" and getattr(settings, key):
            raise ConfigError(f"network.{key} is for language. Leave it out.")


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
