"""What an export holds: a graph, and its inputs and outputs as their user sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array
from gatewise.runtime.graph import Graph, Node, names_in

STEPS, BATCH = "steps", "batch"  # the names of open axes
TRACT = "tract 0.23.9"  # the version of this runtime of ONNX that was tried


@dataclass(frozen=True)
class Port:
    """An input or an output."""

    name: str
    shape: tuple[int | str, ...]  # a size, or the name of an open axis
    dtype: str = "float32"  # float32, float64, int64 or bool
    meaning: str = ""  # what it is, and in which unit: a phrase for the README
    columns: tuple[str, ...] = ()  # the names of the entries of the last axis, if they have any


@dataclass(frozen=True)
class Program:
    """A network with everything that an export has inside, and what its user must know."""

    title: str  # the first line of the README
    graph: Graph  # its input nodes are named as `inputs`, its outputs are those of `outputs`
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    # Every mask is true for the first steps of a sequence and false after them.
    right_padded: bool = False
    outside: tuple[str, ...] = ()  # sentences: the preparation that the export does not contain
    facts: Mapping[str, Any] | None = None  # for export.json: classes, quantiles, columns ...
    files: tuple[Path, ...] = ()  # Python files that decode the answers; they need NumPy alone
    apart: tuple[str, ...] = ()  # sentences: why `predict` answers otherwise
    after: str = ""  # lines of Python that decode `{answer}`, the first output


@dataclass(frozen=True)
class Sample:
    """Inputs of one kind for the proof, and what the run answers."""

    kind: str  # batch, masked, one step ...
    inputs: Mapping[str, Array]
    answers: tuple[Array, ...]  # as the outputs of the program, float64
    unit: float = 1.0  # differences are divided by it: the spread of the targets
    valid: Array | None = None  # [batch, steps]: the steps whose answers count; None: all


SERIES = "series"  # the input that names the scale of each example
SERIES_INSIDE = "The scale of each series of the training part is inside; others have none."


def series_port(scale: Scale) -> Port:
    """The input with the series of each example, where each series has a scale of its own."""
    meaning = f"the number of the series, 0 to {len(scale.ids) - 1} (`series` of export.json)"
    return Port(SERIES, (BATCH,), "int64", meaning)


class Extension:
    """A graph with operations of our own before and after those of the network."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self._replaced: dict[str, str] = {}
        self._before: list[Node] | None = None
        self._by_series = False

    def input(self, port: Port) -> str:
        """Declare an input; it hides an input of the network with the same name."""
        sizes = [size if isinstance(size, int) else None for size in port.shape[1:]]
        config = {"shape": sizes, "dtype": port.dtype}
        self.nodes.append(Node(port.name, "input", (), (port.name,), config))
        self._by_series |= port.name == SERIES
        return port.name

    def feed(self, name: str, value: str) -> None:
        """Let the network read `value` where it read its input `name`.

        The only input of a user's own network may have any name.
        """
        known = list(names_in(self.graph.inputs))
        read = known[0] if len(known) == 1 and name not in known else name
        self._replaced[read] = value

    def outputs(self) -> list[str]:
        """The outputs of the network; what is added from here on comes after it."""
        self._before, self.nodes = self.nodes, []
        return [self._replaced.get(name, name) for name in names_in(self.graph.outputs)]

    def constant(self, value: Any) -> str:
        """A value that never changes; floating-point numbers are float32."""
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        return self._add("constant", (), {}, {"value": array})

    def of_series(self, rows: Array, axes: int) -> str:
        """The row [columns] of the series of each example, or the only row.

        An input [batch, steps, columns], of 3 axes, needs an axis of steps.
        """
        if not self._by_series:
            return self.constant(rows[0])
        own = self.do("take", self.constant(rows), SERIES, axis=0)
        return self.do("expand_dims", own, axis=1) if axes == 3 else own

    def do(self, operation: str, *inputs: str, **config: Any) -> str:
        """The result of an operation of `gatewise.runtime.graph`."""
        return self._add(operation, inputs, config, {})

    def ascending(self, x: str, count: int) -> str:
        """The `count` entries of the last axis, sorted."""
        if count < 2:
            return x
        name = f"ascending {self._number()}"
        turned = self.do("negative", x)
        self.nodes.append(Node(name, "top_k", (turned,), (name, f"{name} places"), {"k": count}))
        return self.do("negative", name)

    def result(self, outputs: tuple[str, ...]) -> Graph:
        """The extended graph, with these values as its outputs."""
        own = {port for port in self._replaced}
        network = [
            replace(node, inputs=tuple(self._replaced.get(one, one) for one in node.inputs))
            for node in self.graph.nodes
            if not (node.operation == "input" and node.outputs[0] in own)
        ]
        nodes = (*(self._before or ()), *network, *self.nodes)
        taken = [name for node in nodes if node.operation == "input" for name in node.outputs]
        return Graph(self.graph.name, self.graph.dtype, nodes, taken, list(outputs))

    def _number(self) -> int:
        return len(self.nodes) + (len(self._before) if self._before is not None else 0)

    def _add(
        self, operation: str, inputs: tuple[str, ...], config: Mapping[str, Any], weights: Any
    ) -> str:
        where = "before" if self._before is None else "after"
        name = f"{where} {len(self.nodes)} {operation}"
        self.nodes.append(Node(name, operation, inputs, (name,), config, weights))
        return name
