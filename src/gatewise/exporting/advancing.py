"""A graph that reads one more step: what it carries on, and the nodes that do so.

A value has a row for each step, so the row of the new step is enough; or it tells something of
all steps so far; or it is the mask of real steps, which is true everywhere; or it never changes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gatewise.errors import ConfigError
from gatewise.exporting import moments
from gatewise.exporting.onnxarithmetic import BINARY, REDUCTIONS, UNARY
from gatewise.runtime.graph import Graph, Node, names_in
from gatewise.runtime.summarising import SUMMARY

# The values that hold the state; an output with `_next` behind the name holds it after the step.
H, C, MOMENTS, LAST = "h", "c", "moments", "last"
# Operations that treat each step alone, if their axis is not that of the steps.
ALONE = frozenset(
    (
        *("dense", "embedding", "activation", "cast", "where", "ones_like", "zeros_like"),
        *("batch_normalization", "layer_normalization", "logical_and", "logical_or"),
        *(*UNARY, *BINARY, "square", "log1p", "not_equal"),
    )
)
# These do, too, if their axis comes after that of the steps.
ALONG = frozenset(
    (
        "concatenate",
        "stack",
        "split",
        "softmax",
        "log_softmax",
        "top_k",
        "one_hot",
        "any",
        "all",
        "expand_dims",
        "squeeze",
        *REDUCTIONS,
    )
)
OF_MASKS = frozenset(("any", "all", "cast", "expand_dims", "logical_and", "squeeze"))
EVERY, SO_FAR, REAL, FIXED = "every", "so far", "real", "fixed"  # kinds of values
WHOLE = [None, None, None]  # the key that keeps an axis


@dataclass(frozen=True)
class Carried:
    """A graph, and the states that it carries from step to step."""

    graph: Graph
    kinds: Mapping[str, str]  # of its values
    layers: tuple[Node, ...]  # their states lie side by side in H and C
    told: tuple[Node, ...]  # the nodes whose states lie side by side in MOMENTS
    columns: Mapping[str, int]  # the sizes of the steps that these nodes read

    @property
    def sizes(self) -> dict[str, list[int]]:
        """The sizes of the parts of each state."""
        units = [int(node.config["units"]) for node in self.layers]
        told = [moments.state_size(node, self.columns[node.inputs[0]]) for node in self.told]
        return {state: each for state, each in ((H, units), (C, units), (MOMENTS, told)) if each}

    @property
    def each_step(self) -> bool:
        """Whether it answers for the new step alone."""
        return self.kinds[next(names_in(self.graph.outputs))] == EVERY


def carried(
    graph: Graph,
    columns: Mapping[str, int],
    *,
    free: Collection[str] = (),
    real: Collection[str] = (),
) -> Carried:
    """What a graph carries on.

    Args:
        graph: its inputs have a row for each step, except those of `free`.
        columns: the sizes of the steps of its values.
        free: inputs that tell something of all steps so far.
        real: values that are the mask of real steps, given by no node.

    Raises:
        ConfigError: an answer needs more than one step and the states; the message says why.
    """
    kinds = dict.fromkeys(real, REAL)
    layers, told = list[Node](), list[Node]()
    for node in graph.nodes:
        if node.operation == "input":
            kinds[node.outputs[0]] = SO_FAR if node.outputs[0] in free else EVERY
            continue
        kind = _kind(node, kinds)
        kinds |= dict.fromkeys(node.outputs, kind)
        if node.operation == "lstm":
            layers.append(node)
            kinds |= dict.fromkeys(node.outputs[1:], SO_FAR)
        elif kind == SO_FAR and kinds.get(node.inputs[0]) == EVERY and node.operation != "getitem":
            told.append(node)
    return Carried(graph, kinds, tuple(layers), tuple(told), columns)


def _kind(node: Node, kinds: Mapping[str, str]) -> str:
    """The kind of the values that a node writes.

    Raises:
        ConfigError: they need other steps.
    """
    name, read = node.operation, [kinds.get(one, FIXED) for one in node.inputs if one]
    if REAL in read and name in OF_MASKS and set(read) == {REAL}:
        return REAL
    if REAL in read and name == "where" and read[0] == REAL:
        return read[1]
    if name == "lstm":
        return _kind_of_layer(node, read)
    if read[:1] == [EVERY] and (name == SUMMARY or moments.pools(node) or _is_last(node)):
        return SO_FAR
    others = set(read) - {FIXED}
    if REAL in others or (EVERY in others and (SO_FAR in others or not _stays_apart(node))):
        raise ConfigError(f"'{node.name}' ({name}) needs all steps")
    return next(iter(others), FIXED)


def _kind_of_layer(node: Node, read: Sequence[str]) -> str:
    if node.config.get("go_backwards") or read[0] != EVERY:
        raise ConfigError(f"'{node.name}' reads the last step first")
    return EVERY if node.config["return_sequences"] else SO_FAR


def _is_last(node: Node) -> bool:
    """Whether a node takes the last step."""
    key = list(node.config.get("key", ()))
    return node.operation == "getitem" and key[:2] in ([WHOLE, -1], [WHOLE, [-1, None, None]])


def _stays_apart(node: Node) -> bool:
    """Whether the rows of what a node writes come from the same rows of what it reads."""
    if node.operation == "getitem":
        return bool(node.config["key"][0] == "...")
    if node.operation in ALONG:
        axis = node.config.get("axis", -1)
        return all(one < 0 or one > 1 for one in ([axis] if isinstance(axis, int) else axis))
    return node.operation in ALONE


def advance(
    form: Carried, given: Mapping[str, str], states: Mapping[str, str], tag: str = ""
) -> tuple[list[Node], str, dict[str, str]]:
    """The nodes that read one more step; the names of the answer and of the states after it.

    Args:
        form: the graph.
        given: the value for each of its inputs: a step [batch, 1, ...], or [batch, ...] if free.
        states: the name of each state before the step [batch, size].
        tag: the end of all names, where a graph is written more than once.
    """
    names, nodes = dict(given), list[Node]()
    parts = {
        state: split(nodes, states[state], each, f"{state} part{tag}")
        for state, each in form.sizes.items()
    }
    after: dict[str, list[str]] = {state: [] for state in parts}
    for node in form.graph.nodes:
        if node.operation == "input" or form.kinds[node.outputs[0]] == REAL:
            continue
        if node.operation == "where" and form.kinds.get(node.inputs[0]) == REAL:
            names[node.outputs[0]] = names[node.inputs[1]]
            continue
        names |= {name: f"{name}{tag}" for name in node.outputs}
        own = replace(
            node,
            name=f"{node.name}{tag}",
            inputs=tuple(names.get(name, "") for name in node.inputs),
            outputs=tuple(names[name] for name in node.outputs),
        )
        if node in form.told:
            k = form.told.index(node)
            made, state = moments.advanced(
                own, own.inputs[0], parts[MOMENTS][k], form.columns[node.inputs[0]]
            )
            nodes += made
            after[MOMENTS].append(state)
        elif node in form.layers:
            k, outputs = form.layers.index(node), list(own.outputs)
            outputs += [f"{own.name} h after", f"{own.name} c after"][len(outputs) - 1 :]
            after[H].append(outputs[1])
            after[C].append(outputs[2])
            inputs = (own.inputs[0], "", parts[H][k], parts[C][k])
            nodes.append(replace(own, inputs=inputs, outputs=tuple(outputs)))
        else:
            nodes.append(own)
    joined = {state: join(nodes, each, f"{state} after{tag}") for state, each in after.items()}
    return nodes, names[next(names_in(form.graph.outputs))], joined


def split(nodes: list[Node], value: str, sizes: Sequence[int], name: str) -> list[str]:
    """The parts of a value along its last axis; the node that cuts it is added."""
    if len(sizes) == 1:
        return [value]
    parts = [f"{name} {k}" for k in range(len(sizes))]
    config = {"indices_or_sections": np.cumsum(sizes)[:-1].tolist(), "axis": -1}
    nodes.append(Node(name, "split", (value,), tuple(parts), config))
    return parts


def join(nodes: list[Node], values: Sequence[str], name: str) -> str:
    """The values side by side; the node that joins them is added."""
    nodes.append(Node(name, "concatenate", tuple(values), (name,), {"axis": -1}))
    return name
