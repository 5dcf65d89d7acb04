"""Front: the convolutions before the LSTM layers of a graph, for steps that arrive in parts.

The graph itself computes them, on the new steps and as many before as they reach. What the edges of
such a stretch have changed is left out, so that the results are those of the whole sequence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gatewise.errors import ConfigError
from gatewise.runtime.graph import Graph, Node, names_in, pruned
from gatewise.runtime.network import Network
from gatewise.runtime.stepping import ALONE
from gatewise.runtime.summarising import SUMMARY, summarised

# What `networks.layers.convolve`, the layers before it and those between convolutions consist of.
KNOWN = ALONE | {
    *("input", "constant", "pad", "conv1d", "any", "expand_dims", "squeeze", "max_pooling1d")
}


@dataclass(frozen=True)
class _Convolution:
    """The sizes of one convolution: result j reads the steps from j stride - left on."""

    size: int
    stride: int
    left: int  # zeros before the first step; size - 1 - left follow the last one


@dataclass(frozen=True)
class Front:
    """The convolutions, and the graph of what follows them."""

    network: Network  # steps [batch, steps, ...] -> results [batch, results, filters]
    convolutions: tuple[_Convolution, ...]
    rest: Graph  # reads these results, and after them what `beside` returns
    masks: tuple[str, ...]  # the values of `rest` that are the mask of real steps
    beside: Graph | None  # the summaries of the steps before the convolutions; None: none are read

    @property
    def stride(self) -> int:
        """The steps from one result to the next."""
        return int(np.prod([one.stride for one in self.convolutions]))

    @property
    def field(self) -> int:
        """The steps that one result reads."""
        steps = 1
        for one in reversed(self.convolutions):
            steps = (steps - 1) * one.stride + one.size
        return steps

    def ready(self, steps: int, *, ended: bool) -> int:
        """The results that are known after this many steps; `ended`: there are no more."""
        for one in self.convolutions:
            after = one.size - 1 if ended else one.left
            steps = max(0, (steps - one.size + after) // one.stride + 1)
        return steps

    @property
    def reach(self) -> int:
        """The first results of a stretch that the steps before it would change."""
        changed = 0
        for one in self.convolutions:
            changed = -(-(changed + one.left) // one.stride)
        return changed


def front_of(graph: Graph) -> Front | None:
    """The convolutions at the beginning of a graph; None: there are none.

    The networks of an ensemble have convolutions of their own, whose results lie side by side.

    Raises:
        ConfigError: what is before the LSTM layers is more than convolutions.
    """
    graph = summarised(graph)
    if not any(node.operation == "conv1d" for node in graph.nodes):
        return None
    ends, masks = _ends(graph)
    before = _ancestors(graph, [*ends, *masks])
    other = next((node for node in before if node.operation not in KNOWN), None)
    if other is not None:
        raise ConfigError(f"'{other.name}' ({other.operation}) needs all steps.")
    chains = {
        tuple(_sizes(graph, n) for n in _ancestors(graph, [x]) if n.operation == "conv1d")
        for x in ends
    }
    if len(chains) > 1:
        raise ConfigError("its convolutions differ in their sizes")
    summaries = [node.outputs[0] for node in graph.nodes if node.operation == SUMMARY]
    found = Front(
        Network(_joined(graph, ends)),
        chains.pop(),
        _rest(graph, ends, summaries, masks),
        tuple(masks),
        _joined(graph, summaries) if summaries else None,
    )
    if not _holds(found):
        raise ConfigError("its convolutions need all steps")
    return found


def _ends(graph: Graph) -> tuple[list[str], list[str]]:
    """The results of the last convolutions, and their masks."""
    convolutions = [node for node in graph.nodes if node.operation == "conv1d"]
    inner = {
        before.name
        for node in convolutions
        for before in _ancestors(graph, node.inputs)
        if before.operation == "conv1d"
    }
    ends, masks = list[str](), list[str]()
    for node in convolutions:
        if node.name in inner:
            continue
        (x,) = node.outputs
        selected = [n for n in graph.nodes if n.operation == "where" and n.inputs[1] == x]
        if selected:
            x = selected[0].outputs[0]
            masks.append(graph.node(selected[0].inputs[0]).inputs[0])
        ends.append(x)
    return ends, masks


def _rest(
    graph: Graph, ends: Sequence[str], summaries: Sequence[str], masks: Sequence[str]
) -> Graph:
    """The graph behind the convolutions and summaries, which are its inputs.

    Raises:
        ConfigError: it reads the steps before them, too.
    """
    sizes = [_filters(graph, x) for x in ends]
    nodes = _given(ends, sizes, [None, sum(sizes)], graph.dtype)
    inputs = [nodes[0].outputs[0]]
    if summaries:
        sizes = [_features(graph, x) for x in summaries]
        beside = _given(summaries, sizes, [sum(sizes)], graph.dtype)
        inputs.append(beside[0].outputs[0])
        nodes += beside
    names = {node.name for node in _ancestors(graph, [*ends, *summaries, *masks])}
    later = [n for n in graph.nodes if n.name not in names or n.operation == "constant"]
    rest = pruned(replace(graph, nodes=(*nodes, *later), inputs=inputs))
    written = {"", *masks, *(name for node in rest.nodes for name in node.outputs)}
    for node in rest.nodes:
        if not written.issuperset(node.inputs):
            raise ConfigError(f"'{node.name}' ({node.operation}) reads the steps before them.")
    return rest


def _given(
    values: Sequence[str], sizes: Sequence[int], shape: list[int | None], dtype: str
) -> list[Node]:
    """The nodes of an input that holds these values side by side."""
    name = values[0] if len(values) == 1 else " and ".join(values)
    nodes = [Node(name, "input", (), (name,), {"shape": shape, "dtype": dtype})]
    if len(values) > 1:
        config = {"indices_or_sections": np.cumsum(sizes)[:-1].tolist(), "axis": -1}
        nodes.append(Node(f"parts of {name}", "split", (name,), tuple(values), config))
    return nodes


def _joined(graph: Graph, values: Sequence[str]) -> Graph:
    """The graph that computes these values, side by side."""
    nodes, output = _ancestors(graph, values), values[0]
    if len(values) > 1:
        output = " and ".join(values)
        nodes.append(Node(output, "concatenate", tuple(values), (output,), {"axis": -1}))
    return replace(graph, nodes=tuple(nodes), outputs=output)


def _filters(graph: Graph, x: str) -> int:
    node = graph.node(x)
    return len(
        (node if node.operation == "conv1d" else graph.node(node.inputs[1])).weights["kernel"][0, 0]
    )


def _features(graph: Graph, summary: str) -> int:
    (reader,) = (node for node in graph.nodes if summary in node.inputs)
    return len(reader.weights["moving_mean"])


def _ancestors(graph: Graph, values: Iterable[str]) -> list[Node]:
    """The nodes on which values depend, in their order."""
    needed, kept = set(values), list[Node]()
    for node in reversed(graph.nodes):
        if needed & set(node.outputs) or node.operation == "input":
            needed |= set(node.inputs)
            kept.append(node)
    return kept[::-1]


def _sizes(graph: Graph, node: Node) -> _Convolution:
    """The sizes of a convolution whose padding does not depend on the length.

    Raises:
        ConfigError: it does.
    """
    config, source = node.config, graph.node(node.inputs[0])
    size = (len(node.weights["kernel"]) - 1) * int(config["dilation_rate"]) + 1
    stride, how = int(config["strides"]), config["padding"]
    left, right = source.config["pad_width"][1] if source.operation == "pad" else (0, 0)
    if how == "causal":
        left += size - 1
    elif how == "same" and stride == 1:
        left, right = left + (size - 1) // 2, right + size // 2
    if left + right != size - 1:
        raise ConfigError(f"'{node.name}' (conv1d) needs all steps.")
    return _Convolution(size, stride, int(left))


def _holds(front: Front) -> bool:
    """Whether further steps change no result that is ready, and results are as many as counted."""
    (name,) = names_in(front.network.graph.inputs)
    config = front.network.graph.node(name).config
    longest = 2 * (front.field + front.stride)
    shape = (1, longest, *(config.get("batch_shape") or [None, *config["shape"]])[2:])
    steps = np.random.default_rng(0).uniform(1, 2, shape).astype(config["dtype"])
    whole = front.network(steps)
    for count in reversed(range(1, longest)):
        results = front.network(steps[:, :count])
        ready = front.ready(count, ended=False)
        if results.shape[1] != front.ready(count, ended=True):
            return False
        if not np.allclose(results[:, :ready], whole[:, :ready], rtol=1e-4, atol=1e-5):
            return False
    return True
