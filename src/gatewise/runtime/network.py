"""Network: run a graph on arrays, with NumPy and the kernels of native/ alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.engine.contract import Arrays, Direction
from gatewise.errors import ArtefactError, ConfigError
from gatewise.runtime.graph import Graph, Node, Structure, names_in, starts_with_state
from gatewise.runtime.operations import FUNCTIONS, Array, lstm


class Network:
    """A graph that predicts. Inputs and outputs have the structure of those of the Keras model.

    Stateful layers keep the states of a batch until `reset_state`, as in Keras.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._states: dict[str, tuple[Array, Array]] = {}
        # Values are freed after the node that reads them last.
        kept, seen = set(names_in(graph.outputs)), set[str]()
        self._free: dict[str, list[str]] = {}
        for node in reversed(graph.nodes):
            last = {*node.inputs, *node.outputs} - kept - seen - {""}
            self._free[node.name] = sorted(last)
            seen |= last

    def __repr__(self) -> str:
        """One line, because notebooks display it."""
        return f"<Network {self.graph.name}: {len(self.graph.nodes)} operations>"

    def __call__(self, inputs: Any) -> Any:
        """The outputs for a batch: arrays in the structure that the Keras model returns.

        Args:
            inputs: one array, or the dict or list of arrays that the Keras model takes.

        Raises:
            ConfigError: an input is missing, or its number of axes is not that of the network.
        """
        values = self._given(inputs)
        for node in self.graph.nodes:
            if node.operation != "input":
                values.update(self._written(node, [values.get(name) for name in node.inputs]))
            for name in self._free[node.name]:
                values.pop(name, None)
        return mapped(values, self.graph.outputs)

    def predict_on_batch(self, inputs: Any) -> Any:
        """The same as a call; the name is that of the method of keras.Model."""
        return self(inputs)

    @property
    def input_shape(self) -> Any:
        """The shape of each input, in the structure of `graph.inputs`, as keras.Model has it."""
        configs = {node.name: node.config for node in self.graph.nodes if node.operation == "input"}
        shapes = {name: _shape(config) for name, config in configs.items()}
        return mapped(shapes, self.graph.inputs)

    def reset_state(self) -> None:
        """Let stateful layers start from zeros again."""
        self._states = {}

    def _given(self, inputs: Any) -> dict[str, Array]:
        """The arrays of the input nodes, in their types."""
        nodes = {node.name: node for node in self.graph.nodes if node.operation == "input"}
        values = {}
        for name, array in _matched(self.graph.inputs, inputs):
            config = nodes[name].config
            array = np.asarray(array, config["dtype"])
            shape = _shape(config)
            fits = array.ndim == len(shape) and all(
                size is None or size == found
                for size, found in zip(shape, array.shape, strict=True)
            )
            if not fits:
                wanted = ", ".join("any" if size is None else str(size) for size in shape)
                raise ConfigError(
                    f"Input {name} has shape {array.shape}; the network needs ({wanted})."
                )
            values[name] = array
        return values

    def _written(self, node: Node, inputs: list[Array | None]) -> dict[str, Array]:
        """The values that a node writes, by name.

        Raises:
            ArtefactError: its configuration or its weights do not fit its inputs.
        """
        try:
            return dict(zip(node.outputs, self.run(node, inputs), strict=True))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise ArtefactError(
                f"Node {node.name!r} ({node.operation}) of the network cannot be run: {error}. It "
                "cannot read this input, or the run folder is damaged: restore it from a backup."
            ) from error

    def run(self, node: Node, inputs: list[Array | None]) -> list[Array]:
        """What a node writes."""
        if node.operation == "lstm":
            return self._run_lstm(node, inputs)
        written = FUNCTIONS[node.operation](*inputs, **node.weights, **node.config)
        outputs = list(written) if isinstance(written, tuple) else [written]
        # NumPy promotes integers further than Keras does.
        narrow = {"float64": self.graph.dtype, "int64": "int32"}
        return [one.astype(narrow.get(str(one.dtype), one.dtype), copy=False) for one in outputs]

    def _run_lstm(self, node: Node, inputs: list[Array | None]) -> list[Array]:
        x, mask, h, c = inputs
        config = node.config
        weights = [node.weights.get(name) for name in ("kernel", "recurrent_kernel", "bias")]
        if config["stateful"] and h is None:
            h, c = self._states.get(node.name, (None, None))
        y, h, c = lstm(
            Arrays(x, mask, h, c, *weights),
            Direction(
                activation=config["activation"],
                recurrent_activation=config["recurrent_activation"],
                go_backwards=config["go_backwards"],
                zero_output=config["zero_output_for_mask"],
                start_output=starts_with_state(node),
            ),
            sequences=config["return_sequences"],
        )
        if config["stateful"]:
            self._states[node.name] = h, c
        return [y, h, c][: len(node.outputs)]


def _shape(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """The shape of an input with its batch axis; None: any size."""
    return tuple(config.get("batch_shape") or [None, *config["shape"]])


def _matched(structure: Structure, inputs: Any) -> list[tuple[str, Array]]:
    """The names of a structure with their arrays."""
    if isinstance(structure, str):
        return [(structure, inputs)]
    if isinstance(structure, Mapping):
        if not isinstance(inputs, Mapping) or (missing := sorted(structure.keys() - inputs.keys())):
            given = ", ".join(missing) if isinstance(inputs, Mapping) else "all"
            raise ConfigError(
                f"The network reads a dict of the inputs {', '.join(structure)}. Missing: {given}."
            )
        return [pair for key in structure for pair in _matched(structure[key], inputs[key])]
    if not isinstance(inputs, list | tuple) or len(inputs) != len(structure):
        if len(structure) == 1:
            return _matched(structure[0], inputs)
        raise ConfigError(f"The network reads a list of {len(structure)} inputs.")
    pairs = zip(structure, inputs, strict=True)
    return [pair for one, given in pairs for pair in _matched(one, given)]


def mapped(values: Mapping[str, Any], structure: Structure) -> Any:
    """The values of names, in a structure of these names."""
    if isinstance(structure, str):
        return values[structure]
    if isinstance(structure, Mapping):
        return {key: mapped(values, one) for key, one in structure.items()}
    return [mapped(values, one) for one in structure]
