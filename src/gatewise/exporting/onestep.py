"""One step of a network: x, h, c -> y, h, c; with summaries inside, also their moments."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gatewise.errors import ConfigError
from gatewise.exporting import moments
from gatewise.exporting.onnxarithmetic import BINARY, REDUCTIONS, UNARY
from gatewise.exporting.program import BATCH, STEPS, Port, Program
from gatewise.runtime.graph import Graph, Node, names_in
from gatewise.runtime.summarising import SUMMARY, summarised

# The inputs that hold the state; an output with `_next` behind the name holds it after the step.
H, C, MOMENTS = "h", "c", "moments"
STATES = (H, C, MOMENTS)
MEANINGS = {
    H: "output state; 0 at first",
    C: "cell state; 0 at first",
    MOMENTS: "mean, extremes and changes of the steps so far; 0 at first",
}
# Operations that treat each step alone, if their axis is not that of the steps.
ALONE = frozenset(
    (
        *("dense", "embedding", "activation", "cast", "where", "ones_like", "zeros_like", "lstm"),
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
        *REDUCTIONS,
    )
)


def one_step(program: Program) -> Program:
    """The program for one step, with the states of all LSTM layers as inputs and outputs.

    States of several layers lie side by side, in the order of the layers.

    Raises:
        ConfigError: an answer needs more than one step and the states; the message says why.
    """
    given = program.inputs[0]
    if len(program.inputs) > 1 or given.shape[1:2] != (STEPS,) or len(program.outputs) > 1:
        raise ConfigError("the network reads whole windows, or has several inputs or outputs")
    whole = summarised(program.graph)
    every = _stepwise(whole, given.name)
    layers = [node for node in whole.nodes if node.operation == "lstm"]
    if not layers:
        raise ConfigError("the network has no LSTM layer")
    columns = _columns(whole)
    units = [int(node.config["units"]) for node in layers]
    sizes = {H: units, C: units, MOMENTS: list(map(moments.state_size, columns.values()))}
    sizes = {state: each for state, each in sizes.items() if each}
    x = f"{given.name} of one step"
    nodes: list[Node] = [
        _node("input", (), (given.name,), shape=[*given.shape[2:]], dtype=given.dtype),
        *(
            _node("input", (), (state,), shape=[sum(each)], dtype="float32")
            for state, each in sizes.items()
        ),
        _node("expand_dims", (given.name,), (x,), axis=1),
    ]
    states = {state: _split(nodes, state, each) for state, each in sizes.items()}
    after: dict[str, list[str]] = {state: [] for state in sizes}
    for node in whole.nodes:
        if node.operation == "input":
            continue
        inputs = tuple(x if one == given.name else one for one in node.inputs)
        if node.operation == SUMMARY:
            before = states[MOMENTS][len(after[MOMENTS])]
            made, name = moments.advanced(node, inputs[0], before, columns[node.name])
            nodes += made
            after[MOMENTS].append(name)
            continue
        if node.operation == "lstm":
            k = layers.index(node)
            outputs = (node.outputs[0], f"{node.name} h after", f"{node.name} c after")
            after[H].append(outputs[1])
            after[C].append(outputs[2])
            inputs = (inputs[0], "", states[H][k], states[C][k])
            node = replace(node, outputs=outputs)
        nodes.append(replace(node, inputs=inputs))
    (y,), (answer,) = names_in(program.graph.outputs), program.outputs
    if y in every:
        nodes.append(_node("squeeze", (y,), ("y of the step",), axis=1))
        y, answer = "y of the step", replace(answer, shape=(BATCH, *answer.shape[2:]))
    for state, names in after.items():
        nodes.append(_node("concatenate", tuple(names), (f"{state} after",), axis=-1))
    graph = Graph(
        program.graph.name,
        program.graph.dtype,
        tuple(nodes),
        [given.name, *sizes],
        [y, *(f"{state} after" for state in sizes)],
    )
    ports = [
        Port(state, (BATCH, sum(each)), meaning=MEANINGS[state]) for state, each in sizes.items()
    ]
    return replace(
        program,
        graph=graph,
        inputs=(replace(given, shape=(BATCH, *given.shape[2:])), *ports),
        outputs=(
            answer,
            *(
                replace(port, name=f"{port.name}_next", meaning="for the next step")
                for port in ports
            ),
        ),
    )


def _node(
    operation: str, inputs: tuple[str, ...], outputs: tuple[str, ...], **config: object
) -> Node:
    return Node(outputs[0], operation, inputs, outputs, config)


def _split(nodes: list[Node], state: str, sizes: Sequence[int]) -> list[str]:
    """The parts of a state, for each layer one; the node that cuts it is added."""
    if len(sizes) == 1:
        return [state]
    parts = [f"{state} {k}" for k in range(len(sizes))]
    cuts = np.cumsum(sizes)[:-1].tolist()
    nodes.append(_node("split", (state,), tuple(parts), indices_or_sections=cuts, axis=-1))
    return parts


def _columns(graph: Graph) -> dict[str, int]:
    """The columns of the steps that each summary of a graph reads, by its name."""
    found = {}
    for node in graph.nodes:
        if node.operation == SUMMARY:
            (reader,) = (one for one in graph.nodes if node.outputs[0] in one.inputs)
            found[node.name] = moments.columns_of(node, len(reader.weights["moving_mean"]))
    return found


def _stepwise(graph: Graph, given: str) -> set[str]:
    """The values that have a row for each step."""
    every, ranks_end = {given}, set[str]()
    for node in graph.nodes:
        if not every & set(node.inputs):
            continue
        name, config = node.operation, node.config
        if name == SUMMARY:
            ranks_end.update(node.outputs)
            continue
        if name == "lstm" and (config.get("go_backwards") or node.inputs[0] not in every):
            raise ConfigError(f"'{node.name}' reads the last step first")
        if name == "getitem":
            alone = config["key"][0] == "..."
        elif name in ALONG or name in ("expand_dims", "squeeze"):
            axis = config.get("axis", -1)
            alone = all(one < 0 or one > 1 for one in ([axis] if isinstance(axis, int) else axis))
        else:
            alone = name in ALONE
        if not alone or any(one in ranks_end for one in node.inputs):
            raise ConfigError(f"'{node.name}' ({name}) needs all steps")
        if name == "lstm" and not config["return_sequences"]:
            ranks_end.update(node.outputs)
        else:
            every.update(node.outputs[:1] if name == "lstm" else node.outputs)
    return every
