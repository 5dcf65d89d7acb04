"""The writer of an ONNX graph: its nodes and initializers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gatewise.runtime.graph import Node

ORDER = ("bool", "int64", "float32", "float64")  # a value is cast to the later type of two

TYPES = {"bool": "BOOL", "int64": "INT64", "float32": "FLOAT", "float64": "DOUBLE"}  # of ONNX


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of the model."""

    name: str
    dtype: str  # of ORDER
    rank: int


class Writer:
    """Collects the nodes and the initializers of an ONNX graph."""

    def __init__(self, onnx: Any, right_padded: bool) -> None:
        self.onnx = onnx
        self.right_padded = right_padded
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.values: dict[str, Value] = {}  # of the graph: name -> tensor
        self._known: dict[tuple[Any, ...], str] = {}  # initializers, each written once
        self._written: dict[tuple[str, ...], list[str]] = {}  # nodes -> the names of their outputs
        self._prefix = ""

    def write(self, node: Node, operation: "Operation") -> None:
        """Write one node of the graph."""
        self._prefix = node.name
        inputs = [self.values[name] if name else None for name in node.inputs]
        results = operation(self, node, inputs)
        self.values.update(zip(node.outputs, results, strict=False))

    def emit(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an ONNX node with one output; return the name of the output."""
        return self.emit_all(operator, inputs, outputs=[output or self._fresh()], **attributes)[0]

    def emit_all(
        self, operator: str, inputs: Sequence[str], *, outputs: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add an ONNX node with several outputs; return their names.

        A node that computes what another one does is not added. (tract 0.23.9 joins such nodes
        itself, and may then end with "eval() called on a Dummy op".)
        """
        key = (operator, *inputs, repr(sorted(attributes.items())))
        if key in self._written and operator != "Identity":
            return self._written[key]
        self._written[key] = list(outputs)
        name = f"{self._prefix}/{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(operator, list(inputs), list(outputs), name, **attributes)
        )
        return list(outputs)

    def fresh(self, count: int) -> list[str]:
        """Names for the outputs of the next node."""
        return [f"{self._fresh()}.{number}" for number in range(count)]

    def _fresh(self) -> str:
        return f"{self._prefix}:{len(self.nodes)}"

    def constant(self, value: Any, dtype: str | None = None) -> str:
        """The name of an initializer with this value."""
        array = np.asarray(value, dtype)
        if dtype is None and array.dtype.kind in "iu":
            array = array.astype(np.int64)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known)}"
            one = self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), self._known[key])
            one.dims[:] = array.shape  # ascontiguousarray makes vectors of scalars
            self.initializers.append(one)
        return self._known[key]

    def cast(self, value: Value, dtype: str) -> Value:
        """The value in another type."""
        if value.dtype == dtype:
            return value
        name = self.emit("Cast", value.name, to=getattr(self.onnx.TensorProto, TYPES[dtype]))
        return Value(name, dtype, value.rank)


Inputs = Sequence[Any]  # Value, or None for an optional input that is absent
Results = Sequence[Value]
Operation = Callable[[Writer, Node, Inputs], Results]


def alike(writer: Writer, values: Sequence[Value], least: str = "bool") -> list[Value]:
    """The values in the widest of their types, at least `least`."""
    kind = ORDER[max(ORDER.index(one) for one in [least, *(value.dtype for value in values)])]
    return [writer.cast(value, kind) for value in values]


def axes_of(axis: Any, rank: int) -> list[int]:
    """The axes as numbers that are not negative; None is all of them."""
    given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    return sorted(one % rank for one in given)
