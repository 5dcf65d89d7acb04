"""Operations of ONNX exports that compute: entry by entry, over axes, and products."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.exporting.onnxwriter import Inputs, Operation, Results, Value, Writer, alike, axes_of
from gatewise.runtime.graph import Node

UNARY = {
    "negative": "Neg",
    "absolute": "Abs",
    "sqrt": "Sqrt",
    "exp": "Exp",
    "log": "Log",
    "sin": "Sin",
    "cos": "Cos",
    "arcsinh": "Asinh",
    "logical_not": "Not",
}
BINARY = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "mod": "Mod",
    "power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
}
COMPARISONS = ("equal", "greater", "greater_equal", "less", "less_equal")
REDUCTIONS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}


def _constant(writer: Writer, node: Node, _inputs: Inputs) -> Results:
    array = np.asarray(node.weights["value"])
    kind = {"f": "float32", "b": "bool"}.get(array.dtype.kind, "int64")
    return [Value(writer.constant(array, kind), kind, array.ndim)]


def _unary(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    kind = "bool" if node.operation == "logical_not" else x.dtype
    if node.operation not in ("negative", "absolute", "logical_not") and kind != "float64":
        kind = "float32"
    x = writer.cast(x, kind)
    return [Value(writer.emit(UNARY[node.operation], x.name), kind, x.rank)]


def _binary(writer: Writer, node: Node, inputs: Inputs) -> Results:
    name, rank = node.operation, max(value.rank for value in inputs)
    least = "float32" if name in ("divide", "power") else "int64"
    if name.startswith("logical"):
        a, b = (writer.cast(value, "bool") for value in inputs)
    else:
        a, b = alike(writer, inputs, least)
    if name == "not_equal":
        return [Value(writer.emit("Not", writer.emit("Equal", a.name, b.name)), "bool", rank)]
    kind = "bool" if name in COMPARISONS else a.dtype
    return [Value(writer.emit(BINARY[name], a.name, b.name), kind, rank)]


def _square(writer: Writer, _node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [Value(writer.emit("Mul", x.name, x.name), x.dtype, x.rank)]


def _log1p(writer: Writer, _node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    above = writer.emit("Add", x.name, writer.constant(1.0))
    return [Value(writer.emit("Log", above), x.dtype, x.rank)]


def _reduction(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    keep, axes = bool(node.config.get("keepdims")), axes_of(node.config.get("axis"), x.rank)
    rank = x.rank if keep else x.rank - len(axes)
    name, logical = node.operation, node.operation in ("any", "all")
    least = "float32" if name == "mean" else "int64"
    (value,) = alike(writer, [x], least)
    operator = REDUCTIONS[{"any": "max", "all": "min"}.get(name, name)]
    made = writer.emit(operator, value.name, writer.constant(axes), keepdims=int(keep))
    result = Value(made, value.dtype, rank)
    return [writer.cast(result, "bool") if logical else result]


def _logsumexp(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    keep, axes = bool(node.config.get("keepdims")), axes_of(node.config.get("axis"), x.rank)
    made = writer.emit("ReduceLogSumExp", x.name, writer.constant(axes), keepdims=int(keep))
    return [Value(made, "float32", x.rank if keep else x.rank - len(axes))]


def _matmul(writer: Writer, _node: Node, inputs: Inputs) -> Results:
    a, b = alike(writer, inputs, "float32")
    return [Value(writer.emit("MatMul", a.name, b.name), "float32", max(a.rank, b.rank))]


def _where(writer: Writer, _node: Node, inputs: Inputs) -> Results:
    condition = writer.cast(inputs[0], "bool")
    a, b = alike(writer, inputs[1:])
    rank = max(value.rank for value in inputs)
    return [Value(writer.emit("Where", condition.name, a.name, b.name), a.dtype, rank)]


def _cast(writer: Writer, node: Node, inputs: Inputs) -> Results:
    return [writer.cast(inputs[0], kind_of(node.config["dtype"]))]


def kind_of(dtype: Any) -> str:
    """The type of ORDER that holds values of a Keras type."""
    return {"f": "float32", "b": "bool"}.get(np.dtype(str(dtype)).kind, "int64")


def _cumsum(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axis = inputs, int(node.config["axis"])
    if x.dtype == "float32":
        return [Value(writer.emit("CumSum", x.name, writer.constant(axis)), x.dtype, x.rank)]
    return [Value(cumulated(writer, x, axis), "int64", x.rank)]


def cumulated(writer: Writer, x: Value, axis: int) -> str:
    """The sums of whole numbers so far, as int64.

    They are added as int32, because tract takes int64 for sizes, which its CumSum cannot add.
    """
    kinds = writer.onnx.TensorProto
    narrow = writer.emit("Cast", x.name, to=kinds.INT32)
    made = writer.emit("CumSum", narrow, writer.constant(axis))
    return writer.emit("Cast", made, to=kinds.INT64)


def _one_hot(writer: Writer, node: Node, inputs: Inputs) -> Results:
    x = writer.cast(inputs[0], "int64")
    apart = writer.emit("Unsqueeze", x.name, writer.constant([-1]))
    hot = writer.emit("Equal", apart, writer.constant(np.arange(node.config["num_classes"])))
    return [writer.cast(Value(hot, "bool", x.rank + 1), "float32")]


def _top_k(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), count = inputs, writer.constant([int(node.config["k"])])
    best, places = writer.emit_all("TopK", [x.name, count], outputs=writer.fresh(2), axis=-1)
    return [Value(best, x.dtype, x.rank), Value(places, "int64", x.rank)]


def _like(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    kind = kind_of(node.config["dtype"]) if node.config.get("dtype") else x.dtype
    number = 1.0 if node.operation == "ones_like" else 0.0
    shape = writer.emit("Shape", x.name)
    value = writer.onnx.numpy_helper.from_array(np.array([number], np.float32))
    made = Value(writer.emit("ConstantOfShape", shape, value=value), "float32", x.rank)
    return [writer.cast(made, kind)]


ARITHMETIC: Mapping[str, Operation] = {
    "constant": _constant,
    "matmul": _matmul,
    "where": _where,
    "cast": _cast,
    "cumsum": _cumsum,
    "one_hot": _one_hot,
    "logsumexp": _logsumexp,
    "top_k": _top_k,
    "ones_like": _like,
    "zeros_like": _like,
    "square": _square,
    "log1p": _log1p,
    "not_equal": _binary,
    **dict.fromkeys(("any", "all", *REDUCTIONS), _reduction),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(UNARY, _unary),
}
