"""Weights as int8 with a scale for each row, and what a network answers with them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gatewise.data.sequences import Array
from gatewise.runtime.graph import Graph, Node

LARGEST = 127
# The matrices of these operations, with the axis of a scale: each output of a product has its own,
# and each row of a table.
MATRICES = {
    "lstm": {"kernel": 1, "recurrent_kernel": 1},
    "dense": {"kernel": 1},
    "embedding": {"embeddings": 0},
}


class Int8(NamedTuple):
    """A matrix as int8 numbers times a scale for each entry of an axis."""

    numbers: Array  # [n, m] int8
    scale: Array  # [m] float32, or [n] for axis 0
    axis: int

    def floats(self) -> Array:
        """The matrix that the numbers stand for, float32."""
        scale = self.scale if self.axis == 1 else self.scale[:, None]
        product: Array = self.numbers.astype(np.float32) * scale
        return product


def int8(matrix: Array, axis: int) -> Int8:
    """Round a matrix [n, m]; the largest number of each row or column becomes 127 or -127."""
    most = np.abs(matrix).max(axis=1 - axis, initial=0.0)
    scale = np.where(most > 0, most / LARGEST, 1.0).astype(np.float32)
    whole = np.rint(matrix / (scale if axis == 1 else scale[:, None]))
    return Int8(np.clip(whole, -LARGEST, LARGEST).astype(np.int8), scale, axis)


def int8_weights(node: Node) -> Mapping[str, Int8]:
    """The weights of a node that are rounded, by name."""
    axes = MATRICES.get(node.operation, {})
    return {name: int8(np.asarray(node.weights[name]), axis) for name, axis in axes.items()}


def rounded(graph: Graph) -> Graph:
    """The graph with the weights that int8 numbers stand for; weights that are shared stay so."""
    floats = {
        id(node.weights[name]): held.floats()
        for node in graph.nodes
        for name, held in int8_weights(node).items()
    }
    nodes = tuple(
        replace(node, weights={key: floats.get(id(one), one) for key, one in node.weights.items()})
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
