"""A trained network as plain data: operations in order, with configurations and weights.

No framework is needed to read, run or convert a `Graph`. Masks are explicit: a node that skips
masked steps has the mask among its inputs, whether the model passed it by hand or Keras attached it
to a tensor. Dropout and noise are left out. A bidirectional layer is two `lstm` nodes, of which the
second one goes backwards, a `flip` and the node that merges them. An attention layer is the
products and the softmax of which it consists.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.errors import ArtefactError

Array = Any
Structure = Any  # the name of a value, or lists and dicts of structures
ALONE = ""  # the name of a graph that is saved without others
DESCRIPTION, WEIGHTS = "graph.json", "graph.npz"  # the files of a run folder
FORMAT = 1  # of the files that `save` writes
# What reading or running a damaged description raises, in the standard library and in NumPy.
DAMAGED = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError),
    *(RecursionError, NotImplementedError, MemoryError, EOFError, zipfile.BadZipFile, zlib.error),
)

# Every operation, as: inputs; configuration; weights. Optional inputs may be "". Names and axes
# are those of Keras: the last part of the table holds functions of keras.ops.
OPERATIONS = {
    "input": "; shape without the batch axis, or batch_shape with it (stateful), dtype;",
    "constant": "; ; value",
    "embedding": "tokens; ; embeddings [tokens, size]",
    # The outputs are y, or y, h and c. Without return_sequences y is the output after the last
    # processed step. With go_backwards, steps are processed from last to first, and y is in the
    # order of processing. A masked step keeps h and c; its y is the previous one, or 0 with
    # zero_output_for_mask. Before the first unmasked step y is h0 with start_output (the default),
    # or else 0. A stateful layer starts where its last call ended.
    "lstm": (
        "x [batch, steps, features], mask?, h0?, c0?; units, activation, recurrent_activation, "
        "go_backwards, return_sequences, zero_output_for_mask, start_output?, stateful; "
        "kernel [features, 4 units], recurrent_kernel [units, 4 units], bias? [4 units]"
    ),
    "dense": "x; activation; kernel [features, units], bias? [units]",
    "conv1d": (
        "x [batch, steps, features]; strides, padding (valid, same or causal), dilation_rate, "
        "groups, activation; kernel [size, features / groups, filters], bias? [filters]"
    ),
    "max_pooling1d": "x [batch, steps, features]; pool_size, strides, padding (valid or same);",
    "average_pooling1d": "x [batch, steps, features]; pool_size, strides, padding;",
    "global_average_pooling1d": "x [batch, steps, features], mask?; keepdims;",
    "batch_normalization": (
        "x; axis, epsilon; moving_mean, moving_variance, gamma?, beta? [size of the axis]"
    ),
    "layer_normalization": "x; axis (the last), epsilon; gamma?, beta? [size of the axis]",
    "activation": "x; activation, and its arguments;",
    "reshape": "x; newshape, of all axes: 0 keeps the axis of x, at most one is -1;",
    "getitem": "x; key: for each axis an index, [start, stop, step], null (new axis) or '...';",
    "transpose": "x; axes;",
    "flip": "x; axis;",
    "pad": "x; pad_width, one pair for each axis; value 0;",
    "repeat": "x; repeats, axis;",
    "expand_dims": "x; axis;",
    "squeeze": "x; axis;",
    "concatenate": "one or more x; axis;",
    "stack": "one or more x; axis;",
    "split": "x; indices_or_sections, axis;",
    "take": "x, indices; axis;",
    "take_along_axis": "x, indices; axis;",
    "matmul": "x1, x2; ;",
    "where": "condition, x1, x2; ;",
    "cast": "x; dtype;",
    "cumsum": "x; axis;",
    "one_hot": "x; num_classes, axis, dtype;",
    "softmax": "x; axis;",
    "log_softmax": "x; axis;",
    "logsumexp": "x; axis, keepdims;",
    "top_k": "x; k;",
    **dict.fromkeys(("ones_like", "zeros_like"), "x; dtype;"),
    **dict.fromkeys(("sum", "mean", "max", "min", "any", "all"), "x; axis, keepdims;"),
    **dict.fromkeys(
        (
            *("add", "subtract", "multiply", "divide", "mod", "power", "maximum", "minimum"),
            *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
            *("logical_and", "logical_or"),
        ),
        "x1, x2; ;",
    ),
    **dict.fromkeys(
        (
            *("negative", "absolute", "square", "sqrt", "exp", "log", "log1p", "sin", "cos"),
            *("arcsinh", "logical_not"),
        ),
        "x; ;",
    ),
}


@dataclass(frozen=True)
class Node:
    """One operation, and the names of the values that it reads and writes."""

    name: str  # of the Keras layer or function, made unique
    operation: str  # a key of OPERATIONS
    inputs: tuple[str, ...]  # "": an optional input that is absent
    outputs: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)  # JSON values
    weights: Mapping[str, Array] = field(default_factory=dict)  # shared layers share arrays


@dataclass(frozen=True)
class Graph:
    """A network: nodes in an order in which each reads only what those before it wrote."""

    name: str
    dtype: str  # of weights and computation: "float32" or "float64"
    nodes: tuple[Node, ...]
    inputs: Structure  # as the Keras model takes them; the names are those of the input nodes
    outputs: Structure  # as the Keras model returns them

    def node(self, value: str) -> Node:
        """The node that writes a value."""
        return next(node for node in self.nodes if value in node.outputs)


def starts_with_state(lstm: Node) -> bool:
    """Whether a layer outputs its initial state, not zeros, before the first unmasked step."""
    return bool(lstm.config.get("start_output", True))


def pruned(graph: Graph) -> Graph:
    """The graph without nodes on which no output depends; inputs stay."""
    needed, kept = set(names_in(graph.outputs)), []
    for node in reversed(graph.nodes):
        if node.operation == "input" or needed & set(node.outputs):
            needed |= set(node.inputs)
            kept.append(node)
    return replace(graph, nodes=tuple(reversed(kept)))


def names_in(structure: Structure) -> Iterator[str]:
    """The names in a structure, in the order in which Keras flattens it.

    >>> list(names_in({"b": "x", "a": ["y", "z"]}))
    ['y', 'z', 'x']
    """
    if isinstance(structure, str):
        yield structure
    elif isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from names_in(structure[key])
    else:
        for one in structure:
            yield from names_in(one)


def save(graphs: Mapping[str, Graph], description: Path, weights: Path) -> None:
    """Write named graphs as JSON, and their weights, each array once, as an .npz file."""
    arrays: dict[str, Array] = {}
    keys: dict[int, str] = {}

    def key_of(node: Node, name: str) -> str:
        array = node.weights[name]
        if id(array) not in keys:
            keys[id(array)] = f"{len(keys)}/{node.name}/{name}".replace("/", ".")
            arrays[keys[id(array)]] = array
        return keys[id(array)]

    content = {
        "format": FORMAT,
        "graphs": {
            name: {
                "name": graph.name,
                "dtype": graph.dtype,
                "inputs": graph.inputs,
                "outputs": graph.outputs,
                "nodes": [
                    {
                        "name": node.name,
                        "operation": node.operation,
                        "inputs": node.inputs,
                        "outputs": node.outputs,
                        "config": node.config,
                        "weights": {one: key_of(node, one) for one in node.weights},
                    }
                    for node in graph.nodes
                ],
            }
            for name, graph in graphs.items()
        },
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    description.write_text(text + "\n", encoding="utf-8")
    np.savez(weights, **arrays)


def load(description: Path, weights: Path) -> dict[str, Graph]:
    """Read what `save` wrote.

    Raises:
        ArtefactError: the format is of a newer version, or a file is damaged.
    """
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
        if int(content["format"]) > FORMAT:
            raise ArtefactError(
                f"{description} has format {content['format']}, but this version of gatewise reads "
                f"up to {FORMAT}. Install a newer gatewise."
            )
        _refuse_packed(weights)
        with np.load(weights, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return {name: _graph(one, arrays) for name, one in content["graphs"].items()}
    except DAMAGED as error:
        reason = f"{type(error).__name__}: {error}"
        raise ArtefactError(
            f"{description} or {weights} is damaged ({reason}). Restore the folder from a backup."
        ) from None


def _refuse_packed(weights: Path) -> None:
    """Refuse compressed arrays, which `save` does not write and which unpack to any size.

    Raises:
        ValueError: an array unpacks to more than the file holds.
    """
    with zipfile.ZipFile(weights) as archive:
        if sum(one.file_size for one in archive.infolist()) > weights.stat().st_size:
            raise ValueError("the arrays announce more bytes than the file holds")


def _refuse_inconsistent(graph: Graph) -> None:
    """Refuse a graph that cannot be run in its order.

    Raises:
        ValueError: a node has an unknown operation, the name of another one, or reads what no node
            before it writes.
    """
    if graph.dtype not in ("float32", "float64"):
        raise ValueError(f"there are no networks of {graph.dtype!r}")
    written: set[str] = {""}
    names: set[str] = set()
    for node in graph.nodes:
        if node.operation not in OPERATIONS:
            raise ValueError(f"node {node.name!r} has the unknown operation {node.operation!r}")
        if node.name in names:
            raise ValueError(f"two nodes have the name {node.name!r}")
        if unknown := [one for one in node.inputs if one not in written]:
            raise ValueError(f"node {node.name!r} reads {unknown[0]!r}, which nothing writes")
        names.add(node.name)
        written |= set(node.outputs)
    if unknown := [one for one in names_in(graph.outputs) if one not in written]:
        raise ValueError(f"the network returns {unknown[0]!r}, which nothing writes")
    inputs = {node.name for node in graph.nodes if node.operation == "input"}
    if unknown := [one for one in names_in(graph.inputs) if one not in inputs]:
        raise ValueError(f"the network has no input {unknown[0]!r}")


def _graph(content: Mapping[str, Any], arrays: Mapping[str, Array]) -> Graph:
    nodes = tuple(
        Node(
            name=one["name"],
            operation=one["operation"],
            inputs=tuple(one["inputs"]),
            outputs=tuple(one["outputs"]),
            config=one["config"],
            weights={name: arrays[key] for name, key in one["weights"].items()},
        )
        for one in content["nodes"]
    )
    graph = Graph(content["name"], content["dtype"], nodes, content["inputs"], content["outputs"])
    _refuse_inconsistent(graph)
    return graph
