"""ONNX: a graph as a model of standard operators, in opset 18.

An `lstm` node is an ONNX `LSTM`. Its gates are i o f c, and those of Keras are i f c o; it has two
biases, of which the second is 0 here; its steps come first (`layout=0`, because few runtimes have
the other one). See https://onnx.ai/onnx/operators/onnx__LSTM.html.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.exporting.program import Port, Program, Sample
from gatewise.exporting.proof import Proof, Run, prove, zero_states
from gatewise.extras import require
from gatewise.runtime.graph import Node, names_in, starts_with_state

USAGE = """
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
answers = session.run(None, {ARGUMENTS})  # NumPy arrays, described below
"""
ARGUMENT = '"{name}": {name}'  # an argument in USAGE
OPSET = 18
IR_VERSION = 9  # of 2023; older runtimes refuse newer ones
LAST = np.iinfo(np.int64).max  # an end of a slice behind every axis
GATES = (0, 3, 1, 2)  # ONNX's i o f c as positions in Keras's i f c o
CLOSING = ("sigmoid", "hard_sigmoid")  # gates that are exactly 0 and 1 at -CLOSED and CLOSED
CLOSED = 1e4  # in the range of float16
# Keras's activations as those of an ONNX LSTM, each with its alpha and its beta, if it has them.
RECURRENT: dict[str, tuple[str, list[float], list[float]]] = {
    "tanh": ("Tanh", [], []),
    "sigmoid": ("Sigmoid", [], []),
    "relu": ("Relu", [], []),
    "hard_sigmoid": ("HardSigmoid", [1 / 6], [0.5]),
    "linear": ("Affine", [1.0], [0.0]),
    "elu": ("Elu", [1.0], []),
    "softsign": ("Softsign", [], []),
    "softplus": ("Softplus", [], []),
}
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
ORDER = ("bool", "int64", "float32")  # a value is cast to the later type of two


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of the model."""

    name: str
    dtype: str  # of ORDER
    rank: int


def model(program: Program, *, name: str) -> Any:
    """The program as an `onnx.ModelProto`, checked by ONNX itself.

    Raises:
        ConfigError: the package onnx is missing, or ONNX has no operator for a part.
    """
    onnx = require("onnx", "onnx", "Exporting to ONNX")
    writer = _Writer(onnx, program.right_padded)
    for port in program.inputs:
        writer.values[port.name] = Value(port.name, port.dtype, len(port.shape))
    for node in program.graph.nodes:
        writer.write(node)
    for port, value in zip(program.outputs, names_in(program.graph.outputs), strict=True):
        cast = writer.cast(writer.values[value], port.dtype)
        writer.emit("Identity", cast.name, output=port.name)
    graph = onnx.helper.make_graph(
        writer.nodes,
        name,
        [_declared(onnx, port) for port in program.inputs],
        [_declared(onnx, port) for port in program.outputs],
        initializer=writer.initializers,
        doc_string=program.title,
    )
    made = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="gatewise",
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def _declared(onnx: Any, port: Port) -> Any:
    kind = {"float32": "FLOAT", "int64": "INT64", "bool": "BOOL"}[port.dtype]
    return onnx.helper.make_tensor_value_info(
        port.name, getattr(onnx.TensorProto, kind), port.shape, doc_string=port.meaning
    )


class _Writer:
    """Collects the nodes and the initializers of an ONNX graph."""

    def __init__(self, onnx: Any, right_padded: bool) -> None:
        self.onnx = onnx
        self.right_padded = right_padded
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.values: dict[str, Value] = {}  # of the graph: name -> tensor
        self._known: dict[tuple[Any, ...], str] = {}  # initializers, each written once
        self._prefix = ""

    def write(self, node: Node) -> None:
        """Write one node of the graph."""
        if node.operation == "input":
            return
        self._prefix = node.name
        inputs = [self.values[name] if name else None for name in node.inputs]
        results = OPERATIONS.get(node.operation, _unknown)(self, node, inputs)
        self.values.update(zip(node.outputs, results, strict=False))

    def emit(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an ONNX node with one output; return the name of the output."""
        return self.emit_all(operator, inputs, outputs=[output or self._fresh()], **attributes)[0]

    def emit_all(
        self, operator: str, inputs: Sequence[str], *, outputs: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add an ONNX node with several outputs; return their names."""
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
        kind = {"float32": "FLOAT", "int64": "INT64", "bool": "BOOL"}[dtype]
        name = self.emit("Cast", value.name, to=getattr(self.onnx.TensorProto, kind))
        return Value(name, dtype, value.rank)


Inputs = Sequence[Any]  # Value, or None for an optional input that is absent
Results = Sequence[Value]


def _unknown(_writer: _Writer, node: Node, _inputs: Inputs) -> Results:
    raise ConfigError(
        f"ONNX: the operation '{node.operation}' of '{node.name}' is not translated. Choose "
        "another --to, or build the network without it."
    )


def _alike(writer: _Writer, values: Sequence[Value], least: str = "bool") -> list[Value]:
    """The values in the widest of their types, at least `least`."""
    kind = ORDER[max(ORDER.index(one) for one in [least, *(value.dtype for value in values)])]
    return [writer.cast(value, kind) for value in values]


def _constant(writer: _Writer, node: Node, _inputs: Inputs) -> Results:
    array = np.asarray(node.weights["value"])
    kind = {"f": "float32", "b": "bool"}.get(array.dtype.kind, "int64")
    return [Value(writer.constant(array, kind), kind, array.ndim)]


def _unary(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    kind = "bool" if node.operation == "logical_not" else x.dtype
    if node.operation not in ("negative", "absolute", "logical_not"):
        kind = "float32"
    x = writer.cast(x, kind)
    return [Value(writer.emit(UNARY[node.operation], x.name), kind, x.rank)]


def _binary(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    name, rank = node.operation, max(value.rank for value in inputs)
    least = "float32" if name in ("divide", "power") else "int64"
    if name.startswith("logical"):
        a, b = (writer.cast(value, "bool") for value in inputs)
    else:
        a, b = _alike(writer, inputs, least)
    if name == "not_equal":
        return [Value(writer.emit("Not", writer.emit("Equal", a.name, b.name)), "bool", rank)]
    kind = "bool" if name in COMPARISONS else a.dtype
    return [Value(writer.emit(BINARY[name], a.name, b.name), kind, rank)]


def _square(writer: _Writer, _node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [Value(writer.emit("Mul", x.name, x.name), x.dtype, x.rank)]


def _log1p(writer: _Writer, _node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    above = writer.emit("Add", x.name, writer.constant(1.0))
    return [Value(writer.emit("Log", above), x.dtype, x.rank)]


def _reduction(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    keep, axes = bool(node.config.get("keepdims")), _axes(node.config.get("axis"), x.rank)
    rank = x.rank if keep else x.rank - len(axes)
    name, logical = node.operation, node.operation in ("any", "all")
    least = "float32" if name == "mean" else "int64"
    (value,) = _alike(writer, [x], least)
    operator = REDUCTIONS[{"any": "max", "all": "min"}.get(name, name)]
    made = writer.emit(operator, value.name, writer.constant(axes), keepdims=int(keep))
    result = Value(made, value.dtype, rank)
    return [writer.cast(result, "bool") if logical else result]


def _axes(axis: Any, rank: int) -> list[int]:
    """The axes as numbers that are not negative; None is all of them."""
    given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    return sorted(one % rank for one in given)


def _logsumexp(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    keep, axes = bool(node.config.get("keepdims")), _axes(node.config.get("axis"), x.rank)
    made = writer.emit("ReduceLogSumExp", x.name, writer.constant(axes), keepdims=int(keep))
    return [Value(made, "float32", x.rank if keep else x.rank - len(axes))]


def _softmax(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    operator = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[node.operation]
    axis = node.config.get("axis", -1)
    return [Value(writer.emit(operator, x.name, axis=axis), "float32", x.rank)]


def _activation(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [activated(writer, x, node)]


def activated(writer: _Writer, x: Value, node: Node) -> Value:
    """The value after the node's activation."""
    name = node.config.get("activation") or "linear"
    if name == "linear":
        return x
    if name not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ConfigError(
            f"ONNX: the activation '{name}' of '{node.name}' is not translated. Known: {known}."
        )
    return Value(ACTIVATIONS[name](writer, x.name, node.config), "float32", x.rank)


def _elementary(operator: str, **attributes: Any) -> Callable[..., str]:
    return lambda writer, x, _config: writer.emit(operator, x, **attributes)


def _gelu(writer: _Writer, x: str, config: Mapping[str, Any]) -> str:
    """0.5 x (1 + erf(x / sqrt(2))), or its approximation by tanh."""
    c, emit = writer.constant, writer.emit
    if config.get("approximate"):
        cube = emit("Mul", emit("Mul", x, emit("Mul", x, x)), c(0.044715))
        inner = emit("Tanh", emit("Mul", emit("Add", x, cube), c(np.sqrt(2 / np.pi))))
    else:
        inner = emit("Erf", emit("Mul", x, c(1 / np.sqrt(2))))
    return emit("Mul", emit("Mul", x, c(0.5)), emit("Add", inner, c(1.0)))


def _relu(writer: _Writer, x: str, config: Mapping[str, Any]) -> str:
    slope, most = config.get("negative_slope") or 0.0, config.get("max_value")
    if config.get("threshold"):
        raise ConfigError("ONNX: a relu with a threshold is not translated. Use another one.")
    y = writer.emit("LeakyRelu", x, alpha=float(slope)) if slope else writer.emit("Relu", x)
    return y if most is None else writer.emit("Min", y, writer.constant(float(most)))


ACTIVATIONS: dict[str, Callable[[_Writer, str, Mapping[str, Any]], str]] = {
    "relu": _relu,
    "relu6": lambda w, x, _: w.emit("Min", w.emit("Relu", x), w.constant(6.0)),
    "leaky_relu": lambda w, x, config: w.emit(
        "LeakyRelu", x, alpha=float(config.get("negative_slope", 0.2))
    ),
    "elu": lambda w, x, config: w.emit("Elu", x, alpha=float(config.get("alpha", 1.0))),
    "selu": _elementary("Selu"),
    "gelu": _gelu,
    "tanh": _elementary("Tanh"),
    "sigmoid": _elementary("Sigmoid"),
    "hard_sigmoid": _elementary("HardSigmoid", alpha=1 / 6, beta=0.5),
    "softplus": _elementary("Softplus"),
    "softsign": _elementary("Softsign"),
    "silu": lambda w, x, _: w.emit("Mul", x, w.emit("Sigmoid", x)),
    "swish": lambda w, x, _: w.emit("Mul", x, w.emit("Sigmoid", x)),
    "mish": lambda w, x, _: w.emit("Mul", x, w.emit("Tanh", w.emit("Softplus", x))),
    "exponential": _elementary("Exp"),
    "softmax": lambda w, x, config: w.emit("Softmax", x, axis=int(config.get("axis", -1))),
    "log_softmax": lambda w, x, config: w.emit("LogSoftmax", x, axis=int(config.get("axis", -1))),
}


def _embedding(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    tokens = writer.cast(inputs[0], "int64")
    table = writer.constant(node.weights["embeddings"])
    return [Value(writer.emit("Gather", table, tokens.name, axis=0), "float32", tokens.rank + 1)]


def _dense(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    x = writer.cast(inputs[0], "float32")
    y = writer.emit("MatMul", x.name, writer.constant(node.weights["kernel"]))
    if "bias" in node.weights:
        y = writer.emit("Add", y, writer.constant(node.weights["bias"]))
    return [activated(writer, Value(y, "float32", x.rank), node)]


def _conv1d(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    x, config = writer.cast(inputs[0], "float32"), node.config
    kernel = np.asarray(node.weights["kernel"])  # [size, features / groups, filters]
    size, dilation = kernel.shape[0], _one(config.get("dilation_rate", 1))
    inner = writer.emit("Transpose", x.name, perm=[0, 2, 1])  # [batch, features, steps]
    padding = config.get("padding", "valid")
    attributes: dict[str, Any] = {"auto_pad": "SAME_UPPER"} if padding == "same" else {}
    if padding == "causal":
        attributes = {"pads": [dilation * (size - 1), 0]}
    weights = [writer.constant(kernel.transpose(2, 1, 0))]
    if "bias" in node.weights:
        weights.append(writer.constant(node.weights["bias"]))
    y = writer.emit(
        "Conv",
        inner,
        *weights,
        strides=[_one(config.get("strides", 1))],
        dilations=[dilation],
        group=int(config.get("groups", 1)),
        **attributes,
    )
    y = writer.emit("Transpose", y, perm=[0, 2, 1])
    return [activated(writer, Value(y, "float32", 3), node)]


def _one(number: Any) -> int:
    """The number, or the only entry of a list."""
    return int(np.ravel(number)[0])


def _pooling(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    x, config = writer.cast(inputs[0], "float32"), node.config
    operator = {"max_pooling1d": "MaxPool", "average_pooling1d": "AveragePool"}[node.operation]
    size = _one(config["pool_size"])
    y = writer.emit(
        operator,
        writer.emit("Transpose", x.name, perm=[0, 2, 1]),
        kernel_shape=[size],
        strides=[_one(config.get("strides") or size)],
        auto_pad="SAME_UPPER" if config.get("padding") == "same" else "VALID",
    )
    return [Value(writer.emit("Transpose", y, perm=[0, 2, 1]), "float32", 3)]


def _global_average(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    x, mask = inputs[0], inputs[1] if len(inputs) > 1 else None
    keep, steps = int(bool(node.config.get("keepdims"))), writer.constant([1])
    rank = 3 if keep else 2
    if mask is None:
        return [Value(writer.emit("ReduceMean", x.name, steps, keepdims=keep), "float32", rank)]
    real = writer.emit("Unsqueeze", writer.cast(mask, "float32").name, writer.constant([2]))
    total = writer.emit("ReduceSum", writer.emit("Mul", x.name, real), steps, keepdims=keep)
    count = writer.emit("ReduceSum", real, steps, keepdims=keep)
    return [Value(writer.emit("Div", total, count), "float32", rank)]


def _batch_normalization(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), weights = inputs, node.weights
    scale = 1 / np.sqrt(np.asarray(weights["moving_variance"], np.float64) + node.config["epsilon"])
    scale = scale * weights.get("gamma", 1.0)
    shift = weights.get("beta", 0.0) - weights["moving_mean"] * scale
    axis = node.config.get("axis", -1)
    shape = [1] * x.rank
    shape[axis if isinstance(axis, int) else axis[0]] = -1
    scaled = writer.emit("Mul", x.name, writer.constant(scale.reshape(shape)))
    shifted = writer.emit("Add", scaled, writer.constant(np.reshape(shift, shape)))
    return [Value(shifted, "float32", x.rank)]


def _layer_normalization(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), weights = inputs, node.weights
    some = weights.get("gamma", weights.get("beta"))
    if some is None:
        raise ConfigError(
            f"ONNX: '{node.name}' is a layer normalisation with neither scale nor centre, which "
            "is not translated. Leave one of them on."
        )
    gamma = weights.get("gamma", np.ones_like(some))
    parts = [writer.constant(gamma)]
    if "beta" in weights:
        parts.append(writer.constant(weights["beta"]))
    epsilon = float(node.config["epsilon"])
    made = writer.emit("LayerNormalization", x.name, *parts, axis=-1, epsilon=epsilon)
    return [Value(made, "float32", x.rank)]


def _flatten(writer: _Writer, _node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [Value(writer.emit("Flatten", x.name, axis=1), x.dtype, 2)]


def _reshape(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), shape = inputs, list(node.config["newshape"])
    return [Value(writer.emit("Reshape", x.name, writer.constant(shape)), x.dtype, len(shape))]


def _getitem(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), key = inputs, list(node.config["key"])
    dots = key.index("...") if "..." in key else len(key)
    taken = sum(one is not None and one != "..." for one in key)
    key = [*key[:dots], *[[None, None, None]] * (x.rank - taken), *key[dots + 1 :]]
    slices = {
        axis: one
        for axis, one in enumerate(one for one in key if one is not None)
        if isinstance(one, list | tuple) and list(one) != [None, None, None]
    }
    name = _sliced(writer, x.name, slices)
    squeezed = [
        (axis, one)
        for axis, one in enumerate(one for one in key if one is not None)
        if isinstance(one, int)
    ]
    for axis, index in reversed(squeezed):
        name = writer.emit("Gather", name, writer.constant(index), axis=axis)
    kept = [one for one in key if not isinstance(one, int)]
    new = [axis for axis, one in enumerate(kept) if one is None]
    if new:
        name = writer.emit("Unsqueeze", name, writer.constant(new))
    return [Value(name, x.dtype, len(kept))]


def _sliced(writer: _Writer, name: str, slices: Mapping[int, Sequence[int | None]]) -> str:
    if not slices:
        return name
    starts, ends, steps = [], [], []
    for start, stop, step in slices.values():
        step = step or 1
        starts.append((0 if step > 0 else -1) if start is None else start)
        ends.append((LAST if step > 0 else -LAST) if stop is None else stop)
        steps.append(step)
    c = writer.constant
    return writer.emit("Slice", name, c(starts), c(ends), c(list(slices)), c(steps))


def _flip(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [Value(_flipped(writer, x.name, node.config["axis"]), x.dtype, x.rank)]


def _flipped(writer: _Writer, name: str, axis: int) -> str:
    return _sliced(writer, name, {axis: (None, None, -1)})


def _transpose(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axes = inputs, node.config.get("axes")
    axes = list(reversed(range(x.rank))) if axes is None else list(axes)
    return [Value(writer.emit("Transpose", x.name, perm=axes), x.dtype, x.rank)]


def _pad(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), widths = inputs, np.asarray(node.config["pad_width"], np.int64)
    if not widths.any():
        return [x]
    amounts = writer.constant(widths.T.reshape(-1))  # all begins, then all ends
    return [Value(writer.emit("Pad", x.name, amounts), x.dtype, x.rank)]


def _repeat(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axis, times = inputs, int(node.config["axis"]), int(node.config["repeats"])
    c = writer.constant
    size = writer.emit("Gather", writer.emit("Shape", x.name), c(axis), axis=0)
    count = writer.emit("Mul", size, c(times))
    places = writer.emit("Div", writer.emit("Range", c(0), count, c(1)), c(times))
    return [Value(writer.emit("Gather", x.name, places, axis=axis), x.dtype, x.rank)]


def _expand_dims(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axes = inputs, node.config["axis"]
    axes = [axes] if isinstance(axes, int) else list(axes)
    made = writer.emit("Unsqueeze", x.name, writer.constant(axes))
    return [Value(made, x.dtype, x.rank + len(axes))]


def _squeeze(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    axes = _axes(node.config["axis"], x.rank)
    return [
        Value(writer.emit("Squeeze", x.name, writer.constant(axes)), x.dtype, x.rank - len(axes))
    ]


def _concatenate(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    values = _alike(writer, inputs)
    axis = int(node.config.get("axis", -1))
    made = writer.emit("Concat", *(value.name for value in values), axis=axis)
    return [Value(made, values[0].dtype, values[0].rank)]


def _stack(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    values, axis = _alike(writer, inputs), int(node.config.get("axis", 0))
    apart = [writer.emit("Unsqueeze", one.name, writer.constant([axis])) for one in values]
    made = writer.emit("Concat", *apart, axis=axis)
    return [Value(made, values[0].dtype, values[0].rank + 1)]


def _split(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axis = inputs, int(node.config.get("axis", 0))
    cuts = node.config["indices_or_sections"]
    if isinstance(cuts, int):
        names = writer.emit_all(
            "Split", [x.name], outputs=writer.fresh(cuts), axis=axis, num_outputs=cuts
        )
        return [Value(name, x.dtype, x.rank) for name in names]
    bounds = zip([0, *cuts], [*cuts, None], strict=True)
    return [
        Value(_sliced(writer, x.name, {axis: (start, stop, 1)}), x.dtype, x.rank)
        for start, stop in bounds
    ]


def _take(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    x, places = inputs[0], writer.cast(inputs[1], "int64")
    axis = int(node.config["axis"])
    made = writer.emit("Gather", x.name, places.name, axis=axis)
    return [Value(made, x.dtype, x.rank + places.rank - 1)]


def _take_along_axis(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    x, places = inputs[0], writer.cast(inputs[1], "int64")
    return [Value(_along(writer, x, places, int(node.config["axis"])), x.dtype, x.rank)]


def _along(writer: _Writer, x: Value, places: Value, axis: int) -> str:
    """The entries of x at these places along an axis; all other axes are broadcast."""
    own = np.arange(x.rank) == axis % x.rank
    shape = writer.emit(
        "Where",
        writer.constant(own, "bool"),
        writer.emit("Shape", places.name),
        writer.emit("Shape", x.name),
    )
    wide = writer.emit("Expand", places.name, shape)
    return writer.emit("GatherElements", x.name, wide, axis=axis)


def _matmul(writer: _Writer, _node: Node, inputs: Inputs) -> Results:
    a, b = _alike(writer, inputs, "float32")
    return [Value(writer.emit("MatMul", a.name, b.name), "float32", max(a.rank, b.rank))]


def _where(writer: _Writer, _node: Node, inputs: Inputs) -> Results:
    condition = writer.cast(inputs[0], "bool")
    a, b = _alike(writer, inputs[1:])
    rank = max(value.rank for value in inputs)
    return [Value(writer.emit("Where", condition.name, a.name, b.name), a.dtype, rank)]


def _cast(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    return [writer.cast(inputs[0], _kind(node.config["dtype"]))]


def _kind(dtype: Any) -> str:
    """The type of ORDER that holds values of a Keras type."""
    return {"f": "float32", "b": "bool"}.get(np.dtype(str(dtype)).kind, "int64")


def _cumsum(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = _alike(writer, inputs, "int64")
    made = writer.emit("CumSum", x.name, writer.constant(int(node.config["axis"])))
    return [Value(made, x.dtype, x.rank)]


def _one_hot(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    x = writer.cast(inputs[0], "int64")
    apart = writer.emit("Unsqueeze", x.name, writer.constant([-1]))
    hot = writer.emit("Equal", apart, writer.constant(np.arange(node.config["num_classes"])))
    return [writer.cast(Value(hot, "bool", x.rank + 1), "float32")]


def _top_k(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,), count = inputs, writer.constant([int(node.config["k"])])
    best, places = writer.emit_all("TopK", [x.name, count], outputs=writer.fresh(2), axis=-1)
    return [Value(best, x.dtype, x.rank), Value(places, "int64", x.rank)]


def _like(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    kind = _kind(node.config["dtype"]) if node.config.get("dtype") else x.dtype
    number = 1.0 if node.operation == "ones_like" else 0.0
    shape = writer.emit("Shape", x.name)
    value = writer.onnx.numpy_helper.from_array(np.array([number], np.float32))
    made = Value(writer.emit("ConstantOfShape", shape, value=value), "float32", x.rank)
    return [writer.cast(made, kind)]


def _lstm(writer: _Writer, node: Node, inputs: Inputs) -> Results:
    """An ONNX LSTM, and what masks ask of it beside.

    OpenVINO 2026.4 and ONNX's reference implementation ignore `sequence_lens`. So masked steps are
    moved behind the others, the outputs after the last real step are not read, and `_held` keeps
    the cell state from there on. Lengths are left to layers whose gates neither open nor close.
    """
    x, mask, h0, c0 = [*inputs, None, None, None][:4]
    config, emit, c = node.config, writer.emit, writer.constant
    backwards, sequences = bool(config.get("go_backwards")), bool(config["return_sequences"])
    count, lengths = "", ""
    if mask is not None:
        mask = writer.cast(mask, "bool")
        count = emit("ReduceSum", writer.cast(mask, "int64").name, c([1]), keepdims=0)
        if not writer.right_padded:
            x = Value(_compact(writer, x, mask), "float32", 3)
        x, node, lengths = _held(writer, x, count, node)
    turned = backwards and bool(count) and not lengths
    given = emit("Transpose", writer.cast(x, "float32").name, perm=[1, 0, 2])  # steps first
    if turned:
        given = emit("ReverseSequence", given, count, batch_axis=1, time_axis=0)
    state = [emit("Unsqueeze", one.name, c([0])) if one else "" for one in (h0, c0)]
    y, h, cell = writer.emit_all(
        "LSTM",
        [given, *_lstm_weights(writer, node), lengths, *state, ""],
        outputs=writer.fresh(3),
        hidden_size=int(config["units"]),
        direction="reverse" if backwards and not turned else "forward",
        **_lstm_activations(node),
    )
    every = emit("Squeeze", y, c([1]))  # [steps, batch, units]
    after = Value(emit("Squeeze", h, c([0])), "float32", 2)
    cell_after = Value(emit("Squeeze", cell, c([0])), "float32", 2)
    if count and not lengths:
        after = _at_the_end(writer, every, count, h0)
    if not sequences:
        return [_last(writer, node, after, mask, count), after, cell_after]
    if turned:
        every = emit("ReverseSequence", every, count, batch_axis=1, time_axis=0)
    every = emit("Transpose", every, perm=[1, 0, 2])  # [batch, steps, units]
    if mask is not None:
        every = _spread(writer, Value(every, "float32", 3), mask, node, h0)
    if backwards:
        every = _flipped(writer, every, 1)
    return [Value(every, "float32", 3), after, cell_after]


def _held(writer: _Writer, x: Value, count: str, node: Node) -> tuple[Value, Node, str]:
    """Steps and a layer that keep the cell state after `count` steps, or else lengths.

    The steps get a column that is 1 after `count` steps. There it closes the input gate and opens
    the forget gate, so that c = 0 g + 1 c.
    """
    emit, c = writer.emit, writer.constant
    if len(node.outputs) == 1:
        return x, node, ""  # nobody reads the cell state
    if node.config["recurrent_activation"] not in CLOSING:
        return x, node, emit("Cast", count, to=writer.onnx.TensorProto.INT32)
    steps = emit("Gather", emit("Shape", x.name), c(1), axis=0)
    place = emit("Range", c(0), steps, c(1))
    late = emit("GreaterOrEqual", place, emit("Unsqueeze", count, c([1])))  # [batch, steps]
    late = emit("Unsqueeze", late, c([2]))
    rest = emit("Where", late, c(0.0), writer.cast(x, "float32").name)  # whatever padding holds
    wide = emit("Concat", rest, writer.cast(Value(late, "bool", 3), "float32").name, axis=2)
    row = np.repeat([-CLOSED, CLOSED, 0.0, 0.0], int(node.config["units"]))  # i f c o
    kernel = np.concatenate([np.asarray(node.weights["kernel"]), row[None]])
    held = dataclasses.replace(node, weights={**node.weights, "kernel": kernel})
    return Value(wide, "float32", 3), held, ""


def _at_the_end(writer: _Writer, every: str, count: str, h0: Any) -> Value:
    """The outputs [steps, batch, units] after `count` steps [batch], or the first state."""
    emit, c = writer.emit, writer.constant
    place = emit("Max", emit("Sub", count, c(1)), c(0))
    places = Value(emit("Unsqueeze", place, c([0, 2])), "int64", 3)  # [1, batch, 1]
    found = emit("Squeeze", _along(writer, Value(every, "float32", 3), places, 0), c([0]))
    real = emit("Unsqueeze", emit("Greater", count, c(0)), c([1]))
    return Value(emit("Where", real, found, h0.name if h0 else c(0.0)), "float32", 2)


def _last(writer: _Writer, node: Node, state: Value, mask: Value | None, count: str) -> Value:
    """The output of the step that is processed last, given the state after it."""
    emit, c = writer.emit, writer.constant
    if mask is None:
        return state
    if node.config.get("zero_output_for_mask"):
        place = 0 if node.config.get("go_backwards") else -1
        real = emit("Gather", mask.name, c([place]), axis=1)
    elif not starts_with_state(node):
        real = emit("Unsqueeze", emit("Greater", count, c(0)), c([1]))
    else:
        return state
    return Value(emit("Where", real, state.name, c(0.0)), "float32", 2)


def _lstm_weights(writer: _Writer, node: Node) -> list[str]:
    """W [1, 4 units, features], R [1, 4 units, units] and B [1, 8 units], in ONNX's order."""
    units = int(node.config["units"])

    def ordered(weights: Array) -> Array:
        gates = np.split(np.asarray(weights, np.float32), 4, axis=-1)
        return np.concatenate([gates[place] for place in GATES], axis=-1)

    bias = ordered(node.weights.get("bias", np.zeros(4 * units, np.float32)))
    return [
        writer.constant(ordered(node.weights["kernel"]).T[None]),
        writer.constant(ordered(node.weights["recurrent_kernel"]).T[None]),
        writer.constant(np.concatenate([bias, np.zeros_like(bias)])[None]),
    ]


def _lstm_activations(node: Node) -> dict[str, Any]:
    """The attributes for activations; none for the usual ones, which every runtime has."""
    names = [node.config["recurrent_activation"], node.config["activation"]]
    if names == ["sigmoid", "tanh"]:
        return {}
    for name in names:
        if name not in RECURRENT:
            known = ", ".join(RECURRENT)
            raise ConfigError(
                f"ONNX: an LSTM cannot have the activation '{name}' of '{node.name}'. Known: "
                f"{known}."
            )
    chosen = [RECURRENT[name] for name in (*names, names[1])]  # gates, candidate, output
    attributes = {
        "activations": [operator for operator, _, _ in chosen],
        "activation_alpha": [alpha for _, some, _ in chosen for alpha in some],
        "activation_beta": [beta for _, _, some in chosen for beta in some],
    }
    return {name: values for name, values in attributes.items() if values}


def _compact(writer: _Writer, x: Value, mask: Value) -> str:
    """The unmasked steps of each sequence moved to the front, in their order."""
    emit, c = writer.emit, writer.constant
    # Positions of masked steps are raised by the number of steps, and TopK sorts the positions.
    steps = emit("Gather", emit("Shape", mask.name), c(1), axis=0)
    position = emit("Range", c(0), steps, c(1))
    key = emit("Add", position, emit("Where", mask.name, c(0), steps))
    _, order = writer.emit_all(
        "TopK", [key, emit("Reshape", steps, c([1]))], outputs=writer.fresh(2), axis=1, largest=0
    )
    return _along(writer, x, Value(emit("Unsqueeze", order, c([2])), "int64", 3), 1)


def _spread(writer: _Writer, y: Value, mask: Value, node: Node, h0: Any) -> str:
    """The outputs of the unmasked steps, [batch, steps, units], back at their steps.

    A masked step is 0 if the layer asks for it, or else repeats the output of the step processed
    before it. If there is none, it is the initial state or 0.
    """
    emit, c = writer.emit, writer.constant
    number = emit("CumSum", writer.cast(mask, "int64").name, c(1))  # of unmasked steps so far
    if node.config.get("zero_output_for_mask"):
        place, real = emit("Sub", number, c(1)), mask.name
    elif node.config.get("go_backwards"):
        # What was processed before is the next unmasked step.
        place = emit("Sub", number, writer.cast(mask, "int64").name)
        total = emit("ReduceMax", number, c([1]), keepdims=1)
        real = emit("Less", place, total)
    else:
        place = emit("Sub", number, c(1))
        real = emit("GreaterOrEqual", place, c(0))
    place = emit("Where", real, place, c(0))
    places = Value(emit("Unsqueeze", place, c([2])), "int64", 3)
    found = _along(writer, y, places, 1)
    repeats = h0 and starts_with_state(node) and not node.config.get("zero_output_for_mask")
    other = emit("Unsqueeze", h0.name, c([1])) if repeats else c(0.0)
    return emit("Where", emit("Unsqueeze", real, c([2])), found, other)


OPERATIONS: dict[str, Callable[[_Writer, Node, Inputs], Results]] = {
    "constant": _constant,
    "embedding": _embedding,
    "lstm": _lstm,
    "dense": _dense,
    "conv1d": _conv1d,
    "max_pooling1d": _pooling,
    "average_pooling1d": _pooling,
    "global_average_pooling1d": _global_average,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "activation": _activation,
    "flatten": _flatten,
    "reshape": _reshape,
    "getitem": _getitem,
    "transpose": _transpose,
    "flip": _flip,
    "pad": _pad,
    "repeat": _repeat,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "take": _take,
    "take_along_axis": _take_along_axis,
    "matmul": _matmul,
    "where": _where,
    "cast": _cast,
    "cumsum": _cumsum,
    "one_hot": _one_hot,
    "softmax": _softmax,
    "log_softmax": _softmax,
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


def write(draft: Path, program: Program, step: Program | str, samples: Sequence[Sample]) -> Proof:
    """Write model.onnx and, if there is a form for one step, step.onnx; both are proved first."""
    programs = {"model": program} | ({"step": step} if isinstance(step, Program) else {})

    def proved(by: str, runs: Mapping[str, Run]) -> Proof:
        one = runs.get("step")
        if one is not None:
            one = _from_zero(one, programs["step"])
        return prove(by, runs["model"], samples, step=one)

    return write_all(draft, programs, proved)


def write_all(
    draft: Path, programs: Mapping[str, Program], proved: Callable[[str, Mapping[str, Run]], Proof]
) -> Proof:
    """Write each program as NAME.onnx; `proved` gets what runs them and how."""
    models = {name: model(one, name=name) for name, one in programs.items()}
    proof = proved(*_runs(models))
    onnx = require("onnx", "onnx", "Exporting to ONNX")
    for name, made in models.items():
        facts = {"proof": proof.sentence(), "gatewise": metadata.version("gatewise")}
        onnx.helper.set_model_props(made, facts | {"description": programs[name].title})
        (draft / f"{name}.onnx").write_bytes(made.SerializeToString())
    return proof


def _from_zero(run: Run, program: Program) -> Run:
    """The run of one step, which begins with zeros where no states are given."""

    def step(inputs: Mapping[str, Array]) -> Sequence[Array]:
        batch = len(next(iter(inputs.values())))
        return run({**zero_states(program, batch), **inputs})

    return step


def _runs(models: Mapping[str, Any]) -> tuple[str, dict[str, Run]]:
    """What runs the models, and a function for each.

    ONNX's own reference implementation would not do, because its LSTM ignores `sequence_lens`.
    """
    runtime = require("onnxruntime", "onnx", "The proof of an ONNX export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    sessions = {
        name: runtime.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for name, made in models.items()
    }
    by = f"ONNX Runtime {runtime.__version__}"
    return by, {name: _runner(one) for name, one in sessions.items()}


def _runner(session: Any) -> Run:
    def run(inputs: Mapping[str, Array]) -> Sequence[Array]:
        answers: Sequence[Array] = session.run(None, dict(inputs))
        return answers

    return run
