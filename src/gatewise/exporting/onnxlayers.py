"""Layers of ONNX exports, and their activations."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatewise.errors import ConfigError
from gatewise.exporting.onnxlstm import lstm
from gatewise.exporting.onnxwriter import Inputs, Operation, Results, Value, Writer
from gatewise.runtime.graph import Node


def activated(writer: Writer, x: Value, node: Node) -> Value:
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


def _gelu(writer: Writer, x: str, config: Mapping[str, Any]) -> str:
    """0.5 x (1 + erf(x / sqrt(2))), or its approximation by tanh."""
    c, emit = writer.constant, writer.emit
    if config.get("approximate"):
        cube = emit("Mul", emit("Mul", x, emit("Mul", x, x)), c(0.044715))
        inner = emit("Tanh", emit("Mul", emit("Add", x, cube), c(np.sqrt(2 / np.pi))))
    else:
        inner = emit("Erf", emit("Mul", x, c(1 / np.sqrt(2))))
    return emit("Mul", emit("Mul", x, c(0.5)), emit("Add", inner, c(1.0)))


def _relu(writer: Writer, x: str, config: Mapping[str, Any]) -> str:
    slope, most = config.get("negative_slope") or 0.0, config.get("max_value")
    if config.get("threshold"):
        raise ConfigError("ONNX: a relu with a threshold is not translated. Use another one.")
    y = writer.emit("LeakyRelu", x, alpha=float(slope)) if slope else writer.emit("Relu", x)
    return y if most is None else writer.emit("Min", y, writer.constant(float(most)))


ACTIVATIONS: dict[str, Callable[[Writer, str, Mapping[str, Any]], str]] = {
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


def _activation(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [activated(writer, x, node)]


def _softmax(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    operator = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[node.operation]
    axis = node.config.get("axis", -1)
    return [Value(writer.emit(operator, x.name, axis=axis), "float32", x.rank)]


def _embedding(writer: Writer, node: Node, inputs: Inputs) -> Results:
    tokens = writer.cast(inputs[0], "int64")
    table = writer.constant(node.weights["embeddings"])
    return [Value(writer.emit("Gather", table, tokens.name, axis=0), "float32", tokens.rank + 1)]


def _dense(writer: Writer, node: Node, inputs: Inputs) -> Results:
    x = writer.cast(inputs[0], "float32")
    y = writer.emit("MatMul", x.name, writer.constant(node.weights["kernel"]))
    if "bias" in node.weights:
        y = writer.emit("Add", y, writer.constant(node.weights["bias"]))
    return [activated(writer, Value(y, "float32", x.rank), node)]


def _conv1d(writer: Writer, node: Node, inputs: Inputs) -> Results:
    x, config = writer.cast(inputs[0], "float32"), node.config
    kernel = np.asarray(node.weights["kernel"])  # [size, features / groups, filters]
    size, dilation = kernel.shape[0], _one(config.get("dilation_rate", 1))
    inner = writer.emit("Transpose", x.name, perm=[0, 2, 1])  # [batch, features, steps]
    padding, stride = config.get("padding", "valid"), _one(config.get("strides", 1))
    span, attributes = dilation * (size - 1), dict[str, Any]()
    if padding == "causal":
        attributes = {"pads": [span, 0]}
    elif padding == "same":
        # ONNX Runtime refuses SAME_UPPER with a dilation, beside which Keras has no strides.
        upper = {"auto_pad": "SAME_UPPER"}
        attributes = {"pads": [span // 2, span - span // 2]} if stride == 1 else upper
    weights = [writer.constant(kernel.transpose(2, 1, 0))]
    if "bias" in node.weights:
        weights.append(writer.constant(node.weights["bias"]))
    y = writer.emit(
        "Conv",
        inner,
        *weights,
        strides=[stride],
        dilations=[dilation],
        group=int(config.get("groups", 1)),
        **attributes,
    )
    y = writer.emit("Transpose", y, perm=[0, 2, 1])
    return [activated(writer, Value(y, "float32", 3), node)]


def _one(number: Any) -> int:
    """The number, or the only entry of a list."""
    return int(np.ravel(number)[0])


def _pooling(writer: Writer, node: Node, inputs: Inputs) -> Results:
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


def _global_average(writer: Writer, node: Node, inputs: Inputs) -> Results:
    x, mask = inputs[0], inputs[1] if len(inputs) > 1 else None
    keep, steps = int(bool(node.config.get("keepdims"))), writer.constant([1])
    rank = 3 if keep else 2
    if mask is None:
        return [Value(writer.emit("ReduceMean", x.name, steps, keepdims=keep), "float32", rank)]
    real = writer.emit("Unsqueeze", writer.cast(mask, "float32").name, writer.constant([2]))
    total = writer.emit("ReduceSum", writer.emit("Mul", x.name, real), steps, keepdims=keep)
    count = writer.emit("ReduceSum", real, steps, keepdims=keep)
    return [Value(writer.emit("Div", total, count), "float32", rank)]


def _batch_normalization(writer: Writer, node: Node, inputs: Inputs) -> Results:
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


def _layer_normalization(writer: Writer, node: Node, inputs: Inputs) -> Results:
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


LAYERS: Mapping[str, Operation] = {
    "embedding": _embedding,
    "lstm": lstm,
    "dense": _dense,
    "conv1d": _conv1d,
    "max_pooling1d": _pooling,
    "average_pooling1d": _pooling,
    "global_average_pooling1d": _global_average,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "activation": _activation,
    "softmax": _softmax,
    "log_softmax": _softmax,
}
