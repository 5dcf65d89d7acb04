"""Open a run to be streamed: its plan, its reader, and its network one step at a time."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from gatewise.data.batches import PADDING
from gatewise.data.sequences import Array, Sequences
from gatewise.engine.cells import WEIGHTS
from gatewise.errors import ConfigError
from gatewise.runs.artefact import Artefact
from gatewise.runtime.convolving import front_of
from gatewise.runtime.graph import Graph
from gatewise.runtime.network import Network
from gatewise.runtime.provisional import ConvolvedStepper
from gatewise.runtime.stepping import Stepper
from gatewise.settings import OWN, DataSettings
from gatewise.streaming.memory import Memory
from gatewise.streaming.obstacles import obstacles
from gatewise.streaming.plan import Plan, Row
from gatewise.streaming.rows import RowReader
from gatewise.streaming.sounds import SoundReader
from gatewise.streaming.texts import TextReader, TokenReader
from gatewise.tasks import TASKS

log = logging.getLogger("gatewise")

AnyStepper = Stepper | ConvolvedStepper

SOUND = "sound"  # the kind of data whose steps a network with convolutions makes itself
READERS: dict[str, Any] = {
    "numbers": RowReader,
    "text": TextReader,
    "tokens": TokenReader,
    SOUND: SoundReader,
}


class Reader(Protocol):
    """Turns what is pushed into steps, as the run turns its files into sequences."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row, in their order."""

    def rows_of(self, steps: Any) -> Iterator[Any]:
        """The rows, or parts, of what a user pushes."""

    def read(self, given: Any, memory: Memory) -> list[Row]:
        """The steps that a row, or a part, completes; `memory` is updated unless it raises."""

    def rest(self, memory: Memory) -> list[Row]:
        """The steps that only the end completes; `memory` is updated."""

    def sequences(self, several: Sequence[tuple[Memory, Sequence[Row]]]) -> Sequences:
        """Steps of several streams as sequences."""

    def inputs(self, rows: Sequence[Row]) -> dict[str, Array] | None:
        """What the network reads of each step, [steps, ...]; None: the task tells."""


@dataclass(frozen=True)
class Model:
    """What the streams of one run share."""

    artefact: Artefact
    plan: Plan
    reader: Reader
    stepper: AnyStepper | None  # None: each answer reads a window anew

    @cached_property
    def digest(self) -> str:
        """Identifies the run and the plan, for saved states."""
        plan = self.plan
        told = {**plan.preparation.to_json(), "window": plan.window, "every": plan.every}
        found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for array in _weights(self.artefact.network):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def open_model(
    artefact: Artefact, window: int | None, every: int | None, weights: str = "float32"
) -> Model:
    """What the streams of a run share.

    Raises:
        ConfigError: as `Stream`.
    """
    name, preparation = artefact.preparation.task, artefact.preparation
    module = TASKS[name].part("stream")
    if module is None:
        raise ConfigError(
            f"A run of the task {name} cannot be streamed, because its answers take a whole "
            "sequence. Use predict."
        )
    plan = _chosen(module.plan(preparation, artefact.experiment, artefact.baselines), window, every)
    artefact = replace(artefact, preparation=plan.preparation)
    settings = artefact.experiment.data
    make: Callable[[Plan, DataSettings], Reader] = READERS[preparation.kind]
    if weights not in WEIGHTS:
        raise ConfigError(f"weights must be {' or '.join(WEIGHTS)}. Received: {weights!r}.")
    if plan.window and weights != WEIGHTS[0]:
        raise ConfigError(
            f"weights={weights} needs states that are carried on, but this stream answers windows "
            "anew. Leave weights out."
        )
    if plan.window:
        return Model(artefact, plan, make(plan, settings), None)
    try:
        stepper, reader = _carried(artefact, plan, weights, make(plan, settings))
        return Model(artefact, plan, reader, stepper)
    except ConfigError as error:
        reason = str(error).rstrip(".")
        if not plan.bound or window == 0 or weights != WEIGHTS[0]:
            raise ConfigError(_way_out(artefact, plan, reason)) from None
    log.info("Each answer reads the text so far anew, because %s.", reason)
    plan = replace(plan, window=plan.bound, partial=True)
    return Model(artefact, plan, make(plan, settings), None)


def _chosen(plan: Plan, window: int | None, every: int | None) -> Plan:
    """The plan with the window and the interval that the user gave.

    Raises:
        ConfigError: one of them does not fit.
    """
    for key, value, least in (("window", window, 0), ("every", every, 1)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise ConfigError(f"{key} must be a whole number from {least}. Received: {value!r}.")
    if window is not None and plan.full and window != plan.window:
        raise ConfigError(f"The network reads windows of {plan.window} steps. Leave window out.")
    if window and not plan.windows:
        raise ConfigError("This stream reads all steps. Leave window out.")
    if window is not None:
        plan = replace(plan, window=window, every=1)
    return replace(plan, every=every or plan.every)


def _carried(
    artefact: Artefact, plan: Plan, weights: str, reader: Reader
) -> tuple[AnyStepper, Reader]:
    """The network for one step at a time, and the reader of what it reads.

    Raises:
        ConfigError: its states cannot be carried on; the message is the reason.
    """
    if plan.preparation.scale.by == "series":
        raise ConfigError(
            "it scales each sequence by its own steps (preparation.scale_by = series)"
        )
    if plan.whole:
        raise ConfigError(plan.whole)
    graph = _graph(artefact)
    graph = plan.graph(graph) if plan.graph else graph
    try:
        return _stepped(plan, artefact.experiment.data, weights, reader, graph)
    except ConfigError as error:
        # The layers of a user's own network come from no settings.
        own = artefact.experiment.network.kind == OWN
        why = "" if own else obstacles(artefact.experiment)
        raise ConfigError(why or str(error)) from None


def _stepped(
    plan: Plan, settings: DataSettings, weights: str, reader: Reader, graph: Graph
) -> tuple[AnyStepper, Reader]:
    """The same for a network that is described already."""
    front = None if plan.free else front_of(graph)
    if front is None:
        return Stepper(graph, PADDING, weights, free=plan.free), reader
    if plan.preparation.kind != SOUND or front.beside or plan.beside:
        return ConvolvedStepper(front, PADDING, weights), reader
    # The many frames of a second are answered when the convolutions have made a step of some.
    stepper = Stepper(front.rest, PADDING, weights, real=front.masks)
    return stepper, SoundReader(plan, settings, front)


def _graph(artefact: Artefact) -> Graph:
    """The network of a run as a graph."""
    network = artefact.network
    if isinstance(network, dict):
        raise ConfigError("it has several networks")
    if isinstance(network, Network):
        return network.graph
    from gatewise.runtime.describe import describe

    model = TASKS[artefact.preparation.task].network.inference_model(network)
    return describe(model, artefact.backend)


def _way_out(artefact: Artefact, plan: Plan, reason: str) -> str:
    """Why the states of a run cannot be carried on, and what to do."""
    ways = [f"The states of this run cannot be carried on from step to step: {reason}."]
    if plan.windows:
        steps = _longest(artefact)
        ways.append(
            f"Give a window: its last steps are then answered anew (window={steps}, or --window "
            f"{steps})."
        )
    return " ".join([*ways, plan.cure]).strip()


def _longest(artefact: Artefact) -> int:
    """The steps of the longest sequence of the training part; 100 if they are not known."""
    lengths = [end - begin for _, begin, end in artefact.splits.get("train", ())]
    if not lengths:
        return 100
    spectrum = getattr(artefact.preparation.own, "spectrum", None)
    return max(lengths) if spectrum is None else int(spectrum.count(max(lengths)))


def _weights(network: Any) -> list[Array]:
    """The weights of a network of any kind."""
    if isinstance(network, Mapping):
        return [array for one in network.values() for array in _weights(one)]
    if isinstance(network, Network):
        return [array for node in network.graph.nodes for array in node.weights.values()]
    return list(network.get_weights())
