"""Running statistics over all steps so far, updated by one more step in plain operations.

These are the summaries inside a network (`runtime.summarising`) and the pooling behind its layers.
Their states are float64: a float32 stops counting at 16,777,216 steps, and sums stop before.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatewise.baselines.summaries import KINDS
from gatewise.data.scaling import FINEST
from gatewise.runtime.graph import Node
from gatewise.runtime.summarising import SUMMARY

POOLING = frozenset(("global_average_pooling1d", "mean", "max", "min", "sum"))


def pools(node: Node) -> bool:
    """Whether a node takes all steps together, by one of the ways that a state can carry on."""
    if node.operation == "global_average_pooling1d":
        return True
    return node.operation in POOLING and node.config.get("axis") in (1, [1])


def state_size(node: Node, columns: int) -> int:
    """The numbers that a node carries on, for this many columns of a step: the last is a count."""
    return (len(KINDS) if node.operation == SUMMARY else 1) * columns + 1


class Nodes(list[Node]):
    """Nodes whose names begin with that of the node that they stand for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def do(self, operation: str, *inputs: str, **config: object) -> str:
        """Append an operation, and return the name of what it writes."""
        name = f"{self._name} {len(self)} {operation}"
        self.append(Node(name, operation, inputs, (name,), config))
        return name

    def constant(self, value: Any) -> str:
        """Append a constant of float32, and return its name."""
        name = f"{self._name} {len(self)} constant"
        weights = {"value": np.asarray(value, np.float32)}
        self.append(Node(name, "constant", (), (name,), {}, weights))
        return name

    def counted(self, before: str) -> tuple[str, str]:
        """The number of steps with the new one, and whether that is the first."""
        return self.do("add", before, self.constant(1)), self.do("equal", before, self.constant(0))

    def end(self, node: Node, answer: str) -> None:
        """Let the node write a value, as float32."""
        self.append(Node(node.name, "cast", (answer,), node.outputs[:1], {"dtype": "float32"}))


def advanced(node: Node, x: str, state: str, columns: int) -> tuple[list[Node], str]:
    """The nodes that compute what a node tells after a step, and the name of its state then.

    Args:
        node: a summary or one that `pools`, whose output they write.
        x: the step [batch, 1, columns].
        state: what is known of the steps before [batch, `state_size`]; zeros before the first one.
        columns: of a step.
    """
    return (_summary if node.operation == SUMMARY else _pooled)(node, x, state, columns)


def _pooled(node: Node, x: str, state: str, columns: int) -> tuple[list[Node], str]:
    nodes = Nodes(node.name)
    before, count = f"{node.name} before", f"{node.name} steps before"
    config = {"indices_or_sections": [columns], "axis": -1}
    nodes.append(Node(f"{node.name} split", "split", (state,), (before, count), config))
    x = nodes.do("squeeze", x, axis=1)  # [batch, columns]
    steps, begins = nodes.counted(count)
    if node.operation in ("max", "min"):
        fold = {"max": "maximum", "min": "minimum"}[node.operation]
        after = nodes.do(fold, nodes.do("where", begins, x, before), x)
    else:
        apart = x if node.operation == "sum" else nodes.do("subtract", x, before)
        after = nodes.do("add", before, apart if apart == x else nodes.do("divide", apart, steps))
    answer = nodes.do("expand_dims", after, axis=1) if node.config.get("keepdims") else after
    nodes.end(node, answer)
    return nodes, nodes.do("concatenate", after, steps, axis=-1)


def _summary(summary: Node, x: str, state: str, columns: int) -> tuple[list[Node], str]:
    nodes = Nodes(summary.name)
    do = nodes.do

    def join(names: Sequence[str]) -> str:
        return do("concatenate", *names, axis=-1)

    before = {kind: f"{summary.name} {kind} before" for kind in (*KINDS, "steps")}
    cuts = [columns * k for k in range(1, len(KINDS) + 1)]
    config = {"indices_or_sections": cuts, "axis": -1}
    nodes.append(Node(f"{summary.name} split", "split", (state,), tuple(before.values()), config))
    x = do("squeeze", x, axis=1)  # [batch, columns]
    steps, begins = nodes.counted(before["steps"])
    least, most, first, last = (
        do("where", begins, x, before[kind]) for kind in ("least", "most", "first", "last")
    )
    apart = do("subtract", x, before["mean"])
    mean = do("add", before["mean"], do("divide", apart, steps))
    # Welford 1962, as `baselines.summaries.advance`.
    products = do("multiply", apart, do("subtract", x, mean))
    after = {
        "mean": mean,
        "squares": do("add", before["squares"], products),
        "least": do("minimum", least, x),
        "most": do("maximum", most, x),
        "first": first,
        "last": x,
        "changes": do("add", before["changes"], do("absolute", do("subtract", x, last))),
    }
    variance = do("divide", after["squares"], steps)
    deviation = do("sqrt", do("add", variance, nodes.constant(FINEST**2)))
    changed = do("divide", after["changes"], steps)
    features = [mean, deviation, *(after[kind] for kind in ("least", "most", "first", "last"))]
    features += [
        changed,
        do("log", deviation),
        do("log", do("add", changed, nodes.constant(FINEST))),
    ]
    if len(summary.inputs) > 1:
        features.append(steps)
    nodes.end(summary, join(features))
    return nodes, join([*(after[kind] for kind in KINDS), steps])
