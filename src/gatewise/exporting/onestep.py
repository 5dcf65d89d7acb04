"""One step of a network: the step and the states in, the answer and the states out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.exporting.advancing import LAST, MOMENTS, WHOLE, C, Carried, H, advance, carried
from gatewise.exporting.convolved import Convolved, advance_convolved
from gatewise.exporting.program import BATCH, STEPS, Port, Program
from gatewise.runtime.convolving import front_of
from gatewise.runtime.graph import Graph, Node, names_in, pruned
from gatewise.runtime.network import Network
from gatewise.runtime.summarising import summarised

STATES = (H, C, MOMENTS, LAST)
MEANINGS = {
    H: "output state; 0 at first",
    C: "cell state; 0 at first",
    MOMENTS: "what is told of all steps so far, such as means and extremes; 0 at first",
    LAST: "the last steps, which the convolutions read; 0 at first",
}
TRIED = 64  # steps of a sequence that shows the sizes of values


def one_step(program: Program) -> Program:
    """The program for one step, with the states of all layers as inputs and outputs.

    States of several layers lie side by side, in the order of the layers.

    Raises:
        ConfigError: an answer needs more than one step and the states; the message says why.
    """
    given = program.inputs[0]
    if STEPS not in given.shape:
        raise ConfigError("the network reads whole windows")
    several = [port.name for port in program.inputs[1:]]
    if several or len(program.outputs) > 1 or given.shape[1] != STEPS:
        beside = f"{', '.join(several)} beside {given.name}" if several else "more than steps"
        raise ConfigError(f"the network reads {beside}, or answers with several outputs")
    if not any(node.operation == "lstm" for node in program.graph.nodes):
        raise ConfigError("the network has no LSTM layer")
    form = _form(program.graph)
    sizes = {state: sum(each) for state, each in _sizes(form).items()}
    x, (answer,) = f"{given.name} of one step", program.outputs
    nodes = [_input(given.name, [*given.shape[2:]], given.dtype)]
    nodes += [_input(state, [size], _dtype(state)) for state, size in sizes.items()]
    nodes.append(Node(x, "expand_dims", (given.name,), (x,), {"axis": 1}))
    states = {state: state for state in sizes}
    if isinstance(form, Carried):
        made, y, after = advance(form, {given.name: x}, states)
    else:
        made, y, after = advance_convolved(form, x, states, len(answer.shape))
    nodes += made
    if isinstance(form, Carried) and form.each_step:
        nodes.append(Node("y of the step", "squeeze", (y,), ("y of the step",), {"axis": 1}))
        y, answer = "y of the step", replace(answer, shape=(BATCH, *answer.shape[2:]))
    graph = Graph(
        program.graph.name,
        program.graph.dtype,
        tuple(nodes),
        [given.name, *sizes],
        [y, *(after[state] for state in sizes)],
    )
    ports = [
        Port(state, (BATCH, size), _dtype(state), MEANINGS[state]) for state, size in sizes.items()
    ]
    after_step = [
        replace(port, name=f"{port.name}_next", meaning="for the next step") for port in ports
    ]
    return replace(
        program,
        graph=graph,
        inputs=(replace(given, shape=(BATCH, *given.shape[2:])), *ports),
        outputs=(answer, *after_step),
    )


def _input(name: str, shape: list[object], dtype: str) -> Node:
    return Node(name, "input", (), (name,), {"shape": shape, "dtype": dtype})


def _dtype(state: str) -> str:
    return "float64" if state == MOMENTS else "float32"


def _form(whole: Graph) -> Carried | Convolved:
    """The parts of a network that are carried on from step to step.

    Raises:
        ConfigError: it needs all steps.
    """
    graph = _last_of_all(whole)
    columns = _columns(whole)
    try:
        front = front_of(graph)
    except ConfigError as error:
        raise ConfigError(str(error).removesuffix(".")) from None
    if front is None:
        return carried(graph, columns)
    free = list(names_in(front.rest.inputs))[1:]
    rest = carried(front.rest, columns, free=free, real=front.masks)
    if rest.each_step:
        raise ConfigError("its convolutions answer for a step when later ones have been read")
    beside = None if front.beside is None else carried(front.beside, columns)
    return Convolved(front, rest, beside, columns)


def _sizes(form: Carried | Convolved) -> dict[str, list[int]]:
    if isinstance(form, Carried):
        return form.sizes
    told = form.beside.sizes[MOMENTS] if form.beside else []
    sizes = form.rest.sizes
    told += sizes.pop(MOMENTS, [])
    return {**sizes, **({MOMENTS: told} if told else {}), LAST: [form.size]}


def _columns(graph: Graph) -> Mapping[str, int]:
    """The sizes of the last axes of all values with a row for each step."""
    values = [name for node in graph.nodes for name in node.outputs if node.operation != "input"]
    arrays = _answers(graph, values, TRIED)
    found = {name: one.shape[-1] for name, one in zip(values, arrays, strict=True) if one.ndim > 2}
    (name,) = names_in(graph.inputs)
    return found | {name: (graph.node(name).config["shape"] or [1])[-1] or 1}


def _last_of_all(whole: Graph) -> Graph:
    """The graph, summarised, where a place that is computed as that of the last step is fixed."""
    graph = summarised(whole)
    nodes = list(graph.nodes)
    for k, node in enumerate(nodes):
        if node.operation == "take_along_axis" and _takes_last(whole, node):
            config = {"key": [WHOLE, [-1, None, None]]}
            nodes[k] = replace(node, operation="getitem", inputs=node.inputs[:1], config=config)
    return pruned(replace(graph, nodes=tuple(nodes)))


def _takes_last(graph: Graph, node: Node) -> bool:
    """Whether a node takes the last step of sequences of any length."""
    for steps in (TRIED // 8, TRIED // 2 + 1, TRIED):
        x, places = _answers(graph, node.inputs, steps)
        if places.shape[1:] != (1, 1) or not (places == x.shape[1] - 1).all():
            return False
    return True


def _answers(graph: Graph, values: Sequence[str], steps: int) -> list[Array]:
    """Values of a graph with one input, for a sequence of this many steps."""
    (name,) = names_in(graph.inputs)
    config = graph.node(name).config
    shape = (config.get("batch_shape") or [None, *config["shape"]])[2:]
    given = np.random.default_rng(0).uniform(1, 2, (1, steps, *shape)).astype(config["dtype"])
    network = Network(pruned(replace(graph, inputs=[name], outputs=list(values))))
    found: list[Array] = network([given])
    return found
