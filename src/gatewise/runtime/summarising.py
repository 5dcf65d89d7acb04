"""The summaries inside a network (`networks.layers.statistics`), carried on from step to step."""

from dataclasses import replace

import numpy as np

from gatewise.baselines.summaries import advance, start
from gatewise.data.scaling import FINEST
from gatewise.data.sequences import Array
from gatewise.runtime.graph import Graph, Node, pruned
from gatewise.runtime.network import Network

SUMMARY = "summary"  # the operation of a node that stands for all nodes of a summary
KINDS = 9  # features of a column; the length comes after them where lengths differ
STEPS = 7  # of the sequence on which two ways to compute a summary are compared


def summarised(graph: Graph) -> Graph:
    """The graph with a single node for each summary, which reads the steps, and a mask if any.

    What only looks like a summary stays as it is.
    """
    nodes = list(graph.nodes)
    for node in graph.nodes:
        found = _summary(graph, node)
        if found is not None:
            place = next(k for k, one in enumerate(nodes) if node.inputs[0] in one.outputs)
            nodes[place] = found
    return pruned(replace(graph, nodes=tuple(nodes)))


def after_step(values: Array, state: dict[str, Array], node: Node) -> Array:
    """The summary [streams, features] after one more step [streams, columns]; moves `state`."""
    if f"{node.name} steps" not in state:
        count, columns = values.shape
        state.update(start(count, columns, node.name))
    found = advance(values, state, node.name)
    steps = found["steps"]
    deviation, changed = np.sqrt(found["squares"] / steps + FINEST**2), found["changes"] / steps
    features = [
        found["mean"],
        deviation,
        *(found[name] for name in ("least", "most", "first", "last")),
        changed,
        np.log(deviation),
        np.log(changed + FINEST),
    ]
    if len(node.inputs) > 1:
        features.append(steps)
    return np.concatenate(features, axis=1).astype(values.dtype)


def _summary(graph: Graph, normalization: Node) -> Node | None:
    """The node that stands for what a batch normalization reads; None: that is not a summary."""
    if normalization.operation != "batch_normalization":
        return None
    joined = graph.node(normalization.inputs[0])
    mean = graph.node(joined.inputs[0]) if joined.operation == "concatenate" else joined
    if mean.operation != "global_average_pooling1d":
        return None
    inputs = tuple(one for one in mean.inputs if one)
    node = replace(joined, operation=SUMMARY, inputs=inputs, config={})
    size = len(normalization.weights["moving_mean"])
    columns, rest = divmod(size - (len(inputs) - 1), KINDS)
    return node if not rest and _is_same(graph, node, columns) else None


def _is_same(graph: Graph, node: Node, columns: int) -> bool:
    """Whether the graph computes of some steps what `after_step` does."""
    shapes = ([None, columns], [None])
    dtypes = (graph.dtype, "bool")
    inputs = [
        Node(name, "input", (), (name,), {"shape": shape, "dtype": dtype})
        for name, shape, dtype in zip(node.inputs, shapes, dtypes, strict=False)
    ]
    needed, between = set(node.outputs), list[Node]()
    for one in reversed(graph.nodes):
        if needed & set(one.outputs) and not set(one.outputs) & set(node.inputs):
            if one.operation == "input":
                return False
            needed |= set(one.inputs)
            between.append(one)
    network = Network(
        replace(
            graph,
            nodes=(*inputs, *reversed(between)),
            inputs=list(node.inputs),
            outputs=node.outputs[0],
        )
    )
    steps = np.random.default_rng(0).normal(size=(1, STEPS, columns)).astype(graph.dtype)
    state: dict[str, Array] = {}
    for count in range(1, STEPS + 1):
        found = after_step(steps[:, count - 1], state, node)
        given = [steps[:, :count], np.ones((1, count), bool)][: len(inputs)]
        wanted = network(given)
        if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=1e-4, atol=1e-5):
            return False
    return True
