"""Front: the convolutions before the LSTM layers of a graph, for frames that arrive in parts.

The graph itself computes them, on the new frames and as many before as they reach. What the edges
of such a stretch have changed is left out, so that the steps are those of the whole sequence.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from gatewise.errors import ConfigError
from gatewise.runtime.graph import Graph, Node, pruned
from gatewise.runtime.network import Network
from gatewise.runtime.operations import Array

# What `networks.layers.convolve` and the layers before it consist of.
KNOWN = frozenset(
    (
        *("input", "constant", "pad", "conv1d", "where", "not_equal", "any", "cast", "expand_dims"),
        *("squeeze", "max_pooling1d", "greater", "add", "multiply", "activation"),
    )
)


@dataclass(frozen=True)
class _Convolution:
    """The sizes of one convolution: step j reads the frames from j stride - left on."""

    size: int
    stride: int
    left: int  # zeros before the first frame, and so many less than `size` - 1 after the last


@dataclass(frozen=True)
class Front:
    """The convolutions, and the graph of what follows them."""

    network: Network  # frames [1, frames, bands] -> steps [1, steps, filters]
    convolutions: tuple[_Convolution, ...]
    rest: Graph  # reads these steps
    mask: str  # the value of `rest` that is the mask of real steps; "": there is none

    @property
    def stride(self) -> int:
        """The frames of one step."""
        return int(np.prod([one.stride for one in self.convolutions]))

    def ready(self, frames: int, *, ended: bool) -> int:
        """The steps that are known after so many frames; `ended`: there are no more."""
        for one in self.convolutions:
            after = one.size - 1 if ended else one.left
            frames = max(0, (frames - one.size + after) // one.stride + 1)
        return frames

    @property
    def reach(self) -> int:
        """The first steps of a stretch that the frames before it would change."""
        changed = 0
        for one in self.convolutions:
            changed = -(-(changed + one.left) // one.stride)
        return changed

    def __call__(self, frames: Array) -> Array:
        """The steps of a stretch of frames, [steps, filters]."""
        steps: Array = self.network(frames[None])[0]
        return steps


def front_of(graph: Graph) -> Front | None:
    """The convolutions at the beginning of a graph; None: there are none.

    Raises:
        ConfigError: what is before the LSTM layers is more than convolutions.
    """
    nodes = [node for node in graph.nodes if node.operation == "conv1d"]
    if not nodes:
        return None
    x, mask = nodes[-1].outputs[0], ""
    selected = [n for n in graph.nodes if n.operation == "where" and n.inputs[1] == x]
    if selected:
        x, mask = selected[0].outputs[0], graph.node(selected[0].inputs[0]).inputs[0]
    before = _ancestors(graph, [x, mask] if mask else [x])
    names = {node.name for node in before}
    other = next((node for node in before if node.operation not in KNOWN), None)
    if other is not None:
        raise ConfigError(f"'{other.name}' ({other.operation}) needs all steps.")
    shape = {"shape": [None, len(nodes[-1].weights["kernel"][0, 0])], "dtype": graph.dtype}
    later = [n for n in graph.nodes if n.name not in names or n.operation == "constant"]
    rest = pruned(replace(graph, nodes=(Node(x, "input", (), (x,), shape), *later), inputs=[x]))
    written = {"", x, mask} | {name for node in rest.nodes for name in node.outputs}
    for node in rest.nodes:
        if not written.issuperset(node.inputs):
            raise ConfigError(f"'{node.name}' ({node.operation}) reads the steps before them.")
    return Front(
        Network(replace(graph, nodes=tuple(before), outputs=x)),
        tuple(_sizes(graph, node) for node in nodes),
        rest,
        mask,
    )


def _ancestors(graph: Graph, values: Collection[str]) -> list[Node]:
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
    size, config = len(node.weights["kernel"]), node.config
    source = graph.node(node.inputs[0])
    pad = source.config["pad_width"][1] if source.operation == "pad" else [0, 0]
    if config["padding"] != "valid" or config["dilation_rate"] != 1 or sum(pad) != size - 1:
        raise ConfigError(f"'{node.name}' (conv1d) needs all steps.")
    return _Convolution(size, int(config["strides"]), int(pad[0]))
