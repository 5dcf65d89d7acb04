"""Layers of C exports, and their activations."""

from collections.abc import Mapping

import numpy as np

from gatewise.errors import ConfigError
from gatewise.exporting.carithmetic import elementwise
from gatewise.exporting.cfunctions import FUNCTIONS
from gatewise.exporting.cvalues import (
    BOOL,
    FLOAT,
    Open,
    Size,
    Value,
    loops,
    number,
    scope,
    times,
    within,
)
from gatewise.exporting.cwriter import Inputs, Operation, Writer
from gatewise.exporting.quantising import int8_weights
from gatewise.runtime.graph import Node, starts_with_state


def activation(writer: Writer, node: Node, name: str) -> str:
    """C code of an activation of {0}; "{0}" for none.

    Raises:
        ConfigError: it is not written.
    """
    if name == "linear":
        return "{0}"
    own = {key: node.config[key] for key in ARGUMENTS if node.config.get(key)}
    if name == "relu" and not own.get("threshold"):
        slope, most = own.get("negative_slope", 0.0), own.get("max_value")
        code = (
            f"({{0}} > 0.0f ? {{0}} : {number(slope)} * {{0}})"
            if slope
            else (f"{writer.use('gw_relu')}({{0}})")
        )
        return f"({code} < {number(most)} ? {code} : {number(most)})" if most else code
    if name == "leaky_relu":
        return f"({{0}} > 0.0f ? {{0}} : {number(own.get('negative_slope', 0.2))} * {{0}})"
    if f"gw_{name}" not in FUNCTIONS or own.keys() - {"alpha"} or own.get("alpha", 1.0) != 1.0:
        raise ConfigError(
            f"C: the activation '{name}' of '{node.name}' is not written. Choose --to onnx."
        )
    return f"{writer.use(f'gw_{name}')}({{0}})"


ARGUMENTS = ("negative_slope", "max_value", "threshold", "alpha", "approximate")


def _activated(writer: Writer, node: Node, y: Value) -> list[Value]:
    """Apply the activation of a node to a buffer in place."""
    name = node.config.get("activation") or "linear"
    if name in ("softmax", "log_softmax"):
        return [_softmax_of(writer, y, node.config.get("axis", -1), y.code, name)]
    code = activation(writer, node, name)
    if code != "{0}":
        size = times(y.shape)
        one = f"{y.code}[i]"
        writer.add([f"for (int i = 0; i < {size}; i++) {one} = {code.format(one)};"])
    return [y]


def _activation(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    return _activated(writer, node, writer.each(node.name, x.shape, lambda p: x.at(p)))


def _softmax(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    y = writer.buffer(node.name, x.shape)
    return [_softmax_of(writer, y, node.config.get("axis", -1), x.code, node.operation)]


def _softmax_of(writer: Writer, y: Value, axis: int, x: str, name: str) -> Value:
    """Write y = softmax(x), or its logarithm, along an axis; x may be y."""
    axis %= len(y.shape)
    size, given = y.shape[axis], Value(x, y.shape)

    def body(places: list[str]) -> list[str]:
        def at(value: Value) -> str:
            return value.at([*places[:axis], "k", *places[axis + 1 :]])

        loop = f"for (int k = 0; k < {size}; k++)"
        last = f"{at(y)} - log_sum" if name == "log_softmax" else f"{at(y)} / sum"
        # Without exponentials in between, the logarithm of a small probability is exact.
        middle = (
            [
                f"{loop} {{",
                f"  {at(y)} = {at(given)} - most;",
                f"  sum += expf({at(y)});",
                "}",
                "const float log_sum = logf(sum);",
            ]
            if name == "log_softmax"
            else [f"{loop} {{", f"  {at(y)} = expf({at(given)} - most);", f"  sum += {at(y)};", "}"]
        )
        return [
            "float most = -HUGE_VALF, sum = 0.0f;",
            f"{loop} most = {at(given)} > most ? {at(given)} : most;",
            *middle,
            f"{loop} {at(y)} = {last};",
        ]

    others = tuple(1 if k == axis else size for k, size in enumerate(y.shape))
    writer.add(scope(loops(others, body)))
    return y


def _embedding(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (tokens,) = inputs
    table = np.asarray(node.weights["embeddings"])
    shape = (*tokens.shape, table.shape[1])
    if not writer.rounded:
        held = writer.weight(f"{node.name}_embeddings", node.weights["embeddings"])
        entry = f"{held.code}[{{0}} * {table.shape[1]} + {{1}}]"
    else:
        numbers, scale, _ = int8_weights(node)["embeddings"]
        held = writer.weight(f"{node.name}_embeddings", numbers, BOOL)
        s = writer.weight(f"{node.name}_embeddings_scale", scale)
        entry = f"{s.code}[{{0}}] * (float){held.code}[{{0}} * {table.shape[1]} + {{1}}]"
    token = "(int)" * (tokens.kind == FLOAT)
    return [
        writer.each(node.name, shape, lambda p: entry.format(f"{token}{tokens.at(p[:-1])}", p[-1]))
    ]


def _dense(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    n, m = np.asarray(node.weights["kernel"]).shape
    y = writer.buffer(node.name, (*x.shape[:-1], m))
    rows = times(x.shape[:-1])
    place, given = (
        (f"{y.code} + r * {m}", f"{x.code} + r * {n}") if rows != "1" else (y.code, x.code)
    )
    bias = "0.0f"
    if "bias" in node.weights:
        bias = f"{writer.weight(f'{node.name}_bias', node.weights['bias']).code}[j]"
    one = f"{y.code}[r * {m} + j]" if rows != "1" else f"{y.code}[j]"
    lines = [
        f"for (int j = 0; j < {m}; j++) {one} = {bias};",
        writer.product(node, "kernel", y=place, x=given),
    ]
    if rows != "1":
        lines = [f"for (int r = 0; r < {rows}; r++) {{", *(f"  {x}" for x in lines), "}"]
    writer.add(lines)
    return _activated(writer, node, y)


def _lstm(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    """The steps of a layer; h and c start with 0 or the states that are given, and end as they are.

    A batch of more than 1 is one that the network makes of a sequence, such as its segments.
    """
    x, mask, h0, c0 = [*inputs, None, None, None][:4]
    config, (batch, steps, features) = node.config, x.shape
    if config.get("stateful"):
        raise ConfigError(f"C: '{node.name}' is stateful, which is not written. Choose --to onnx.")
    units = int(config["units"])
    h, c = (writer.buffer(f"{node.name}_{part}", (batch, units)) for part in ("h", "c"))
    z = writer.buffer(f"{node.name}_z", (4 * units,))
    # The outputs are h, unless masked steps have others.
    zeros = mask is not None and bool(config.get("zero_output_for_mask"))
    apart = zeros or (mask is not None and h0 is not None and not starts_with_state(node))
    every = bool(config["return_sequences"])
    outputs = (batch, steps, units) if every else (batch, units)
    y = writer.buffer(f"{node.name}_y", outputs) if every or apart else None
    row = "b * " if batch != 1 else ""
    places = [f"{row}{units} + j" if row else "j"] * 2
    starts = [
        f"{one.code}[{place}]" if one else "0.0f"
        for one, place in zip((h0, c0), places, strict=True)
    ]
    start = f"{row}{times((steps, features))} + " if row else ""
    lines = [f"const float *x = {x.code} + {start}t * {features};"]
    step = _lstm_step(writer, node, z.code)
    real = f"{mask.code}[{f'{row}{steps} + ' if row else ''}t]" if mask is not None else ""
    lines += [f"if ({real}) {{", *within(step), "}"] if real else step
    if y is not None:
        size = times(outputs[1:])
        to = f"({y.code}{f' + {row}{size}' if row else ''})"
        lines += _lstm_output(to, units, real if apart else "", zeros=zeros, every=every)
    t = f"{steps} - 1 - number" if config.get("go_backwards") else "number"
    lines = [
        *(
            f"float *{name} = {held.code}{f' + {row}{units}' if row else ''};"
            for name, held in (("h", h), ("c", c))
        ),
        f"for (int j = 0; j < {units}; j++) {{",
        f"  h[j] = {starts[0]};",
        f"  c[j] = {starts[1]};",
        "}",
        f"for (int number = 0; number < {steps}; number++) {{",
        f"  const int t = {t};",
        *within(lines),
        "}",
    ]
    head = f"for (int b = 0; b < {batch}; b++) {{" if row else "{"
    writer.add([head, *within(lines), "}"])
    return [y or h, h, c]


def _lstm_step(writer: Writer, node: Node, z: str) -> list[str]:
    """One step from x, h and c to h and c; z holds the gates i, f, g, o before activation."""
    units = int(node.config["units"])
    cell = activation(writer, node, node.config["activation"]).format
    gate = activation(writer, node, node.config["recurrent_activation"]).format
    bias = "0.0f"
    if "bias" in node.weights:
        bias = f"{writer.weight(f'{node.name}_bias', node.weights['bias']).code}[j]"
    i, f, g, o = (f"{z}[{f'{k * units} + ' if k else ''}j]" for k in range(4))
    return [
        f"for (int j = 0; j < {4 * units}; j++) {z}[j] = {bias};",
        writer.product(node, "kernel", y=z, x="x"),
        writer.product(node, "recurrent_kernel", y=z, x="h"),
        f"for (int j = 0; j < {units}; j++) {{",
        f"  c[j] = {gate(f)} * c[j] + {gate(i)} * {cell(g)};",
        f"  h[j] = {gate(o)} * {cell('c[j]')};",
        "}",
    ]


def _lstm_output(y: str, units: int, real: str, *, zeros: bool, every: bool) -> list[str]:
    """Copy h to the output, that of each step or the last one.

    A step that is not `real` is 0, or repeats the output before it and is 0 if there is none.
    """
    place, before = (
        (f"number * {units} + j", f"(number - 1) * {units} + j") if every else ("j", "j")
    )
    one = f"for (int j = 0; j < {units}; j++) {y}[{place}] ="
    if not real:
        return [f"{one} h[j];"]
    other = "0.0f" if zeros else f"(number ? {y}[{before}] : 0.0f)"
    return [f"{one} {real} ? h[j] : {other};"]


def _conv1d(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), config = inputs, node.config
    _refuse_batch(node, x)
    stride, dilation = (int(np.ravel(config.get(k, 1))[0]) for k in ("strides", "dilation_rate"))
    kernel = np.asarray(node.weights["kernel"])  # [size, features, filters]
    size, features, filters = kernel.shape
    if int(config.get("groups", 1)) != 1:
        raise ConfigError(f"C: '{node.name}' has groups, which are not written. Use onnx.")
    span = dilation * (size - 1)
    steps, before = _windows(x.shape[1], span + 1, stride, config.get("padding", "valid"), node)
    y = writer.buffer(node.name, (1, steps, filters))
    bias = "0.0f"
    if "bias" in node.weights:
        bias = f"{writer.weight(f'{node.name}_bias', node.weights['bias']).code}[j]"
    w = writer.weight(f"{node.name}_kernel", node.weights["kernel"])
    at = f"{y.code} + t * {filters}"
    writer.add(
        [
            f"for (int t = 0; t < {steps}; t++) {{",
            f"  for (int j = 0; j < {filters}; j++) ({at})[j] = {bias};",
            f"  for (int k = 0; k < {size}; k++) {{",
            f"    const int from = t * {stride} + k * {dilation} - {before};",
            f"    if (from >= 0 && from < {x.shape[1]})",
            f"      {writer.use('gw_product')}({at}, {x.code} + from * {features}, "
            f"{w.code} + k * {features * filters}, {features}, {filters});",
            "  }",
            "}",
        ]
    )
    return _activated(writer, node, y)


def _refuse_batch(node: Node, x: Value) -> None:
    if x.shape[0] != 1:
        raise ConfigError(
            f"C: '{node.name}' reads {x.shape[0]} parts of a sequence at a time, which is not "
            "written. Choose --to onnx."
        )


def _windows(
    steps: Size, span: int, stride: int, padding: str, node: Node
) -> tuple[Size, int | str]:
    """The number of windows, and the padding before the first step, which may be code."""
    if padding == "valid" or padding == "causal":
        before = span - 1 if padding == "causal" else 0
        less = span - 1 - before
        if isinstance(steps, Open):
            return steps.reduced(less, stride), before
        return (steps - less - 1) // stride + 1, before
    if isinstance(steps, Open):
        if stride > span:
            raise ConfigError(
                f"C: '{node.name}' pads an open number of steps with strides that are longer than "
                "its windows, which is not written. Choose --to onnx."
            )
        if stride == 1:
            return steps, (span - 1) // 2
        windows = steps.reduced(0, stride)
        return windows, f"(({windows} - 1) * {stride} + {span} - {steps}) / 2"
    count = -(-steps // stride)
    return count, max((count - 1) * stride + span - steps, 0) // 2


def _pooling(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), config = inputs, node.config
    _refuse_batch(node, x)
    size = int(np.ravel(config["pool_size"])[0])
    stride = int(np.ravel(config.get("strides") or size)[0])
    steps, before = _windows(x.shape[1], size, stride, config.get("padding", "valid"), node)
    features = x.shape[2]
    y = writer.buffer(node.name, (1, steps, features))
    entry = f"{x.code}[from * {features} + j]"
    largest = node.operation == "max_pooling1d"
    join = f"a = {entry} > a ? {entry} : a;" if largest else f"a += {entry};"
    writer.add(
        [
            f"for (int t = 0; t < {steps}; t++) {{",
            f"  for (int j = 0; j < {features}; j++) {{",
            f"    float a = {'-HUGE_VALF' if largest else '0.0f'};",
            "    int count = 0;",
            f"    for (int k = 0; k < {size}; k++) {{",
            f"      const int from = t * {stride} + k - {before};",
            f"      if (from < 0 || from >= {x.shape[1]}) continue;",
            f"      {join}",
            "      count++;",
            "    }",
            f"    {y.code}[t * {features} + j] = {'a' if largest else 'a / (float)count'};",
            "  }",
            "}",
        ]
    )
    return [y]


def _global_average(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    x, mask = [*inputs, None][:2]
    _refuse_batch(node, x)
    features = x.shape[2]
    shape = (1, 1, features) if node.config.get("keepdims") else (1, features)
    y = writer.buffer(node.name, shape)
    real = f"if ({mask.code}[t])" if mask is not None else "if (1)"
    add = f"for (int j = 0; j < {features}; j++) {y.code}[j] += {x.code}[t * {features} + j];"
    writer.add(
        [
            "{",
            "  int count = 0;",
            f"  for (int j = 0; j < {features}; j++) {y.code}[j] = 0.0f;",
            f"  for (int t = 0; t < {x.shape[1]}; t++) {{",
            f"    {real} {{",
            f"      {add}",
            "      count++;",
            "    }",
            "  }",
            f"  for (int j = 0; j < {features}; j++) {y.code}[j] /= (float)count;",
            "}",
        ]
    )
    return [y]


def _batch_normalization(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    if node.config.get("axis", -1) not in (-1, [-1], len(x.shape) - 1, [len(x.shape) - 1]):
        raise ConfigError(f"C: '{node.name}' does not normalise the last axis. Use onnx.")
    mean, variance = (np.asarray(node.weights[f"moving_{one}"]) for one in ("mean", "variance"))
    scale = np.asarray(node.weights.get("gamma", 1.0)) / np.sqrt(variance + node.config["epsilon"])
    shift = np.asarray(node.weights.get("beta", 0.0)) - mean * scale
    a, b = (
        writer.weight(f"{node.name}_{part}", one.astype(np.float32))
        for part, one in (("scale", scale), ("shift", shift))
    )
    return elementwise(writer, node, [x, a, b], "{0} * {1} + {2}", FLOAT)


def _layer_normalization(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    size, y = x.shape[-1], writer.buffer(node.name, x.shape)
    parts = {
        name: writer.weight(f"{node.name}_{name}", node.weights[name]).code
        for name in ("gamma", "beta")
        if name in node.weights
    }
    scaled = f" * {parts['gamma']}[j]" if "gamma" in parts else ""
    moved = f" + {parts['beta']}[j]" if "beta" in parts else ""

    def body(places: list[str]) -> list[str]:
        one = x.at([*places[:-1], "j"])
        loop = f"for (int j = 0; j < {size}; j++)"
        apart = f"({one} - mean)"
        return [
            "float mean = 0.0f, variance = 0.0f;",
            f"{loop} mean += {one} / {size}.0f;",
            f"{loop} variance += {apart} * {apart} / {size}.0f;",
            f"const float unit = 1.0f / sqrtf(variance + {number(node.config['epsilon'])});",
            f"{loop} {y.at([*places[:-1], 'j'])} = {apart} * unit{scaled}{moved};",
        ]

    writer.add(scope(loops((*x.shape[:-1], 1), body)))
    return [y]


LAYERS: Mapping[str, Operation] = {
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
    "softmax": _softmax,
    "log_softmax": _softmax,
}
