"""The summaries inside a network (`runtime.summarising`) as plain operations on one more step."""

from collections.abc import Sequence

import numpy as np

from gatewise.baselines.summaries import KINDS
from gatewise.data.scaling import FINEST
from gatewise.runtime.graph import Node
from gatewise.runtime.summarising import KINDS as FEATURES


def columns_of(summary: Node, size: int) -> int:
    """The columns of the steps that a summary of `size` features reads."""
    return size // FEATURES if len(summary.inputs) == 1 else (size - 1) // FEATURES


def state_size(columns: int) -> int:
    """The numbers that a summary carries on: one of each kind for a column, and the steps."""
    return len(KINDS) * columns + 1


def advanced(summary: Node, x: str, state: str, columns: int) -> tuple[list[Node], str]:
    """The nodes that compute a summary, and the name of the state after the step.

    Args:
        summary: the node of the summary, whose output they write.
        x: the step [batch, 1, columns].
        state: what is known of the steps before [batch, `state_size`]; zeros before the first one.
        columns: of a step.
    """
    nodes: list[Node] = []

    def do(operation: str, *inputs: str, **config: object) -> str:
        name = f"{summary.name} {len(nodes)} {operation}"
        nodes.append(Node(name, operation, inputs, (name,), config))
        return name

    def constant(value: float) -> str:
        name = f"{summary.name} {len(nodes)} constant"
        weights = {"value": np.float32(value)}
        nodes.append(Node(name, "constant", (), (name,), {}, weights))
        return name

    def join(names: Sequence[str]) -> str:
        return do("concatenate", *names, axis=-1)

    before = {kind: f"{summary.name} {kind} before" for kind in (*KINDS, "steps")}
    cuts = [columns * k for k in range(1, len(KINDS) + 1)]
    config = {"indices_or_sections": cuts, "axis": -1}
    nodes.append(Node(f"{summary.name} split", "split", (state,), tuple(before.values()), config))
    x = do("squeeze", x, axis=1)  # [batch, columns]
    steps = do("add", before["steps"], constant(1))
    begins = do("equal", before["steps"], constant(0))
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
    deviation = do("sqrt", do("add", variance, constant(FINEST**2)))
    changed = do("divide", after["changes"], steps)
    features = [mean, deviation, *(after[kind] for kind in ("least", "most", "first", "last"))]
    features += [changed, do("log", deviation), do("log", do("add", changed, constant(FINEST)))]
    if len(summary.inputs) > 1:
        features.append(steps)
    config = {"axis": -1}
    nodes.append(Node(summary.name, "concatenate", tuple(features), summary.outputs, config))
    return nodes, join([*(after[kind] for kind in KINDS), steps])
