"""A graph as a C99 function that answers for one sequence, with its weights and buffers.

Arrays are flat, with the last axis as the fastest one. Only the axis of the steps may be open: its
size is computed from `n`, the number of steps of the call.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.exporting.cfunctions import FUNCTIONS
from gatewise.exporting.program import BATCH, STEPS, Program
from gatewise.exporting.quantising import int8_weights
from gatewise.runtime.graph import Node, pruned, starts_with_state

FLOAT, INT, BOOL = "float", "int", "signed char"  # the types of values; BOOL is 0 or 1
ORDER = (BOOL, INT, FLOAT)  # an operation computes in the later type of two
WIDTH = 100  # columns of a line of numbers
MOST = "GW_MAX_STEPS"  # the macro that limits an open axis


@dataclass(frozen=True)
class Open:
    """The size of an axis that depends on the number of steps: (n + plus) / over, rounded down."""

    plus: int = 0
    over: int = 1

    def of(self, steps: int) -> int:
        """The size for a number of steps."""
        return (steps + self.plus) // self.over

    def __str__(self) -> str:
        """The size as C."""
        if (self.plus, self.over) == (0, 1):
            return "n"
        return f"((n + {self.plus}) / {self.over})".replace("+ -", "- ")

    def padded(self, more: int) -> "Open":
        """The size with `more` entries."""
        return Open(self.plus + self.over * more, self.over)

    def reduced(self, less: int, stride: int = 1) -> "Open":
        """The size after windows that reach `less` steps further, `stride` steps apart."""
        return Open(self.plus + self.over * (stride - 1 - less), self.over * stride)


Size: TypeAlias = int | Open
Shape: TypeAlias = tuple[Size, ...]
Body: TypeAlias = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Value:
    """An array of the C code; the first axis is that of the batch, of size 1."""

    code: str
    shape: Shape
    kind: str = FLOAT

    def at(self, places: Sequence[str]) -> str:
        """An entry of the array; axes of size 1 are broadcast, and so are missing first ones."""
        places = list(places)[len(places) - len(self.shape) :]
        return f"{self.code}[{flat(self.shape, places)}]"


def flat(shape: Shape, places: Sequence[str]) -> str:
    """The place in the flat array, as C."""
    terms = []
    for k, place in enumerate(places):
        if shape[k] == 1 or place == "0":
            continue
        step = times(shape[k + 1 :])
        terms.append(place if step == "1" else f"{_wrapped(place)} * {step}")
    return " + ".join(terms) or "0"


def _wrapped(place: str) -> str:
    return place if re.fullmatch(r"\w+|\(.*\)", place) else f"({place})"


def times(shape: Shape) -> str:
    """The number of entries, as C."""
    known, open_ = fixed(shape), [str(size) for size in shape if isinstance(size, Open)]
    return " * ".join([*open_, str(known)] if known != 1 or not open_ else open_)


def fixed(shape: Sequence[Any]) -> int:
    """The product of the sizes that are not open."""
    return int(np.prod([size for size in shape if isinstance(size, int)], dtype=np.int64))


def capacity(shape: Shape) -> str:
    """The largest number of entries, as a constant of C."""
    return re.sub(r"\bn\b", MOST, times(shape))


def array_of(name: str, array: Any) -> str:
    """A constant array with its values."""
    array = np.asarray(array)
    whole = array.dtype.kind in "iub"
    kind = FLOAT if not whole else BOOL if array.dtype.itemsize == 1 else INT
    digits = [str(int(one)) if whole else number(one) for one in np.ravel(array).tolist()]
    lines, line = [f"static const {kind} {name}[{max(1, array.size)}] = {{"], " "
    for one in digits or ["0"]:
        if len(line) + len(one) + 2 > WIDTH:
            lines.append(line)
            line = " "
        line += f" {one},"
    return "\n".join([*lines, line, "};\n"])


def loops(shape: Shape, body: Body, letter: str = "i") -> list[str]:
    """Nested loops over the axes of a shape; `body` gets the place along each axis."""
    places = ["0" if size == 1 else f"{letter}{k}" for k, size in enumerate(shape)]
    lines = body(places)
    for place, size in reversed(list(zip(places, shape, strict=True))):
        if place != "0":
            lines = [
                f"for (int {place} = 0; {place} < {size}; {place}++) {{",
                *(f"  {line}" for line in lines),
                "}",
            ]
    return lines


class Writer:
    """Collects the lines of a function, and the buffers, weights and functions that they use."""

    def __init__(self, *, rounded: bool) -> None:
        self.rounded = rounded  # int8 weights
        self.lines: list[str] = []
        self.values: dict[str, Value] = {}  # of the graph
        self.buffers: dict[str, tuple[str, Shape]] = {}  # name -> type and shape
        self.weights: dict[str, Array] = {}
        self.functions: dict[str, None] = {}  # of cfunctions, in the order of their use
        self._keys: dict[tuple[int, str], str] = {}
        self._names: set[str] = set()

    def write(self, program: Program, held: Sequence[str] = ()) -> None:
        """Write the nodes on which the outputs depend; inputs in `held` are buffers of the state.

        Raises:
            ConfigError: a node has no C code; the message names it.
        """
        for port in program.inputs:
            if port.shape[0] != BATCH:
                raise ConfigError(
                    f"C: the rows of the input '{port.name}' are not sequences, which is not "
                    "written. Choose --to onnx."
                )
            sizes = tuple(1 if k == 0 else _size(one) for k, one in enumerate(port.shape))
            kind = {"float32": FLOAT, "bool": BOOL}.get(port.dtype, INT)
            if port.name in held:
                self.values[port.name] = self.buffer(f"held_{port.name}", sizes, kind)
            else:
                self.values[port.name] = Value(plain(port.name), sizes, kind)
                self._names.add(plain(port.name))
        for node in pruned(program.graph).nodes:
            if node.operation != "input":
                self._write(node)

    def _write(self, node: Node) -> None:
        if node.operation not in OPERATIONS:
            raise ConfigError(
                f"C: the operation '{node.operation}' of '{node.name}' is not written. Choose --to "
                "onnx."
            )
        inputs = [self.values[name] if name else None for name in node.inputs]
        made = OPERATIONS[node.operation](self, node, inputs)
        self.values.update(zip(node.outputs, made, strict=False))

    def add(self, lines: Sequence[str]) -> None:
        """Add lines."""
        self.lines += lines

    def buffer(self, name: str, shape: Shape, kind: str = FLOAT) -> Value:
        """A new buffer of the state."""
        name = self._free(name)
        self.buffers[name] = (kind, shape)
        return Value(f"state->{name}", shape, kind)

    def weight(self, name: str, array: Any, kind: str = FLOAT) -> Value:
        """A constant array; the same array is written once."""
        array = np.asarray(array)
        key = (id(array), kind)
        if key not in self._keys:
            self._keys[key] = self._free(name)
            self.weights[self._keys[key]] = array
        return Value(self._keys[key], array.shape, kind)

    def use(self, name: str) -> str:
        """The name of a function of cfunctions."""
        self.functions[name] = None
        return name

    def each(
        self, name: str, shape: Shape, entry: Callable[[list[str]], str], kind: str = FLOAT
    ) -> Value:
        """A buffer whose entries are computed one by one from their place."""
        made = self.buffer(name, shape, kind)
        self.add(loops(shape, lambda places: [f"{made.at(places)} = {entry(places)};"]))
        return made

    def product(self, node: Node, name: str, *, y: str, x: str) -> str:
        """A statement that adds x times a matrix of a node to y."""
        matrix = np.asarray(node.weights[name])
        n, m = matrix.shape
        if not self.rounded:
            held = self.weight(f"{node.name}_{name}", node.weights[name])
            return f"{self.use('gw_product')}({y}, {x}, {held.code}, {n}, {m});"
        numbers, scale, _ = int8_weights(node)[name]
        w = self.weight(f"{node.name}_{name}", numbers, BOOL)
        s = self.weight(f"{node.name}_{name}_scale", scale)
        return f"{self.use('gw_product_int8')}({y}, {x}, {w.code}, {s.code}, {n}, {m});"

    def _free(self, name: str) -> str:
        word = plain(name)
        free, number = word, 1
        while free in self._names:
            number += 1
            free = f"{word}_{number}"
        self._names.add(free)
        return free


def plain(name: str) -> str:
    """A name as a C identifier."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    word = word if word[:1].isalpha() else f"v{word}"
    return f"{word}_" if word in RESERVED or re.fullmatch(r"[a-z]\d?", word) else word


RESERVED = frozenset(
    (
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else"),
        *("enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register"),
        *("restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch"),
        *("typedef", "union", "unsigned", "void", "volatile", "while", "state", "main"),
        # Names of the generated code, beside single letters.
        *("number", "count", "most", "sum", "log_sum", "mean", "variance", "unit", "from"),
        *("exp", "log", "sin", "cos", "sqrt", "pow", "tanh", "gamma"),  # of math.h
        *FUNCTIONS,
    )
)


def _size(size: int | str) -> Size:
    if isinstance(size, str) and size != STEPS:
        raise ConfigError(f"C: an input has the open axis {size}. Only that of the steps may be.")
    return Open() if isinstance(size, str) else size


Inputs: TypeAlias = Sequence[Any]  # Value, or None for an optional input that is absent


def _constant(writer: Writer, node: Node, _inputs: Inputs) -> list[Value]:
    array = np.asarray(node.weights["value"])
    kind = {"f": FLOAT, "b": BOOL}.get(array.dtype.kind, INT)
    return [writer.weight(node.name, node.weights["value"], kind)]


def _broadcast(values: Sequence[Value]) -> Shape:
    rank = max(len(value.shape) for value in values)
    shapes = [(1,) * (rank - len(value.shape)) + value.shape for value in values]
    return tuple(next((one for one in sizes if one != 1), 1) for sizes in zip(*shapes, strict=True))


def _elementwise(
    writer: Writer, node: Node, values: Sequence[Value], code: str, kind: str
) -> list[Value]:
    """`code` of the entries {0}, {1} ... of arrays that are broadcast."""
    shape = _broadcast(values)
    return [
        writer.each(
            node.name, shape, lambda places: code.format(*(v.at(places) for v in values)), kind
        )
    ]


UNARY = {
    "negative": "-{0}",
    "absolute": "fabsf({0})",
    "square": "{0} * {0}",
    "sqrt": "sqrtf({0})",
    "exp": "expf({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "arcsinh": "asinhf({0})",
}
BINARY = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "(float){0} / (float){1}",
    "power": "powf({0}, {1})",
    "maximum": "{0} > {1} ? {0} : {1}",
    "minimum": "{0} < {1} ? {0} : {1}",
}
LOGICAL = {
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "logical_not": "!{0}",
}


def _unary(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    whole = node.operation in ("negative", "square") and inputs[0].kind == INT
    kind = INT if whole else FLOAT
    return _elementwise(writer, node, inputs, UNARY[node.operation], kind)


def _binary(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    least = FLOAT if node.operation in ("divide", "power") else INT
    kind = _widest([*(value.kind for value in inputs), least])
    return _elementwise(writer, node, inputs, BINARY[node.operation], kind)


def _widest(kinds: Sequence[str]) -> str:
    return ORDER[max(ORDER.index(kind) for kind in kinds)]


def _logical(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    return _elementwise(writer, node, inputs, LOGICAL[node.operation], BOOL)


def _where(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    kind = _widest([value.kind for value in inputs[1:]])
    return _elementwise(writer, node, inputs, "{0} ? {1} : {2}", kind)


def _cast(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    kind = _kind(node.config["dtype"])
    code = "{0} != 0" if kind == BOOL else f"({kind}){{0}}"
    return _elementwise(writer, node, inputs, code, kind)


def _kind(dtype: Any) -> str:
    return {"f": FLOAT, "b": BOOL}.get(np.dtype(str(dtype)).kind, INT)


def _like(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    kind = _kind(node.config["dtype"]) if node.config.get("dtype") else inputs[0].kind
    number = "1" if node.operation == "ones_like" else "0"
    return [writer.each(node.name, inputs[0].shape, lambda _: number, kind)]


# Activations.


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


def number(value: float) -> str:
    """A number as a float of C."""
    digits = f"{np.float32(value):.9g}"
    return f"{digits}f" if re.search(r"[.e]", digits) else f"{digits}.0f"


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
    writer.add(_scope(loops(others, body)))
    return y


def _scope(lines: list[str]) -> list[str]:
    """Lines in a block of their own, because they declare variables."""
    return lines if lines[0].startswith("for") else ["{", *(f"  {one}" for one in lines), "}"]


# Layers.


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
    lines += [f"if ({real}) {{", *_in(step), "}"] if real else step
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
        *_in(lines),
        "}",
    ]
    head = f"for (int b = 0; b < {batch}; b++) {{" if row else "{"
    writer.add([head, *_in(lines), "}"])
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


def _in(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


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
    return _elementwise(writer, node, [x, a, b], "{0} * {1} + {2}", FLOAT)


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

    writer.add(_scope(loops((*x.shape[:-1], 1), body)))
    return [y]


# Shapes.


def _reshape(_writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), new = inputs, list(node.config["newshape"])
    shape: list[Size] = [x.shape[k] if size == 0 else size for k, size in enumerate(new)]
    if -1 in shape:
        if [s for s in shape if isinstance(s, Open)] != [s for s in x.shape if isinstance(s, Open)]:
            raise ConfigError(f"C: '{node.name}' joins the open axis of the steps with another.")
        shape[shape.index(-1)] = -fixed(x.shape) // fixed(shape)
    return [Value(x.code, tuple(shape), x.kind)]


def _expand_dims(_writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axes = inputs, node.config["axis"]
    axes = [axes] if isinstance(axes, int) else list(axes)
    rank = len(x.shape) + len(axes)
    added, rest = {axis % rank for axis in axes}, iter(x.shape)
    return [Value(x.code, tuple(1 if k in added else next(rest) for k in range(rank)), x.kind)]


def _squeeze(_writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axis = inputs, node.config["axis"]
    gone = {one % len(x.shape) for one in ([axis] if isinstance(axis, int) else axis)}
    return [Value(x.code, tuple(s for k, s in enumerate(x.shape) if k not in gone), x.kind)]


def _moved(
    writer: Writer, node: Node, x: Value, shape: Shape, place: Callable[[list[str]], Any]
) -> list[Value]:
    """A copy of x whose entries come from other places."""
    return [writer.each(node.name, shape, lambda places: x.at(place(places)), x.kind)]


def _getitem(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), key = inputs, list(node.config["key"])
    named = sum(one is not None and one != "..." for one in key)
    if "..." not in key:
        key.append("...")
    at = key.index("...")
    key[at : at + 1] = [[None, None, None]] * (len(x.shape) - named)
    shape: list[Size] = []
    # Of each axis of x: the first place, the axis of the result that moves it, and its step.
    moves: list[tuple[str, int | None, int]] = []
    axis = 0
    for one in key:
        if one is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        axis += 1
        if isinstance(one, int):
            moves.append((str(one) if one >= 0 else f"{size} - {-one}", None, 0))
            continue
        begin, step, count = _cut(node, one, size)
        moves.append((begin, len(shape), step))
        shape.append(count)

    def place(places: list[str]) -> list[str]:
        return [_sum(a, "0" if k is None else places[k], step) for a, k, step in moves]

    return _moved(writer, node, x, tuple(shape), place)


def _sum(begin: str, place: str, step: int) -> str:
    """The place `begin + place * step`, as C."""
    moved = place if step == 1 or place == "0" else f"{place} * {step}"
    return moved if begin == "0" else begin if moved == "0" else f"{begin} + {moved}"


def _cut(node: Node, bounds: Sequence[int | None], size: Size) -> tuple[str, int, Size]:
    """The first place, the step and the number of entries of a slice."""
    begin, stop, step = bounds
    if isinstance(size, int):
        places = range(size)[slice(begin, stop, step)]
        return str(places.start), places.step, len(places)
    if step in (None, 1) and (begin or 0) >= 0 and (stop is None or stop < 0):
        count = Open(size.plus + size.over * ((stop or 0) - (begin or 0)), size.over)
        return str(begin or 0), 1, count
    if step in (None, 1) and begin is not None and begin < 0 and stop is None:
        return f"{size} - {-begin}", 1, -begin
    if (begin, stop, step) == (None, None, -1):
        return f"{size} - 1", -1, size
    raise ConfigError(f"C: '{node.name}' cuts the open axis of the steps, which is not written.")


def _transpose(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axes = inputs, node.config.get("axes")
    axes = list(reversed(range(len(x.shape)))) if axes is None else list(axes)
    shape = tuple(x.shape[axis] for axis in axes)
    return _moved(writer, node, x, shape, lambda p: [p[axes.index(k)] for k in range(len(axes))])


def _flip(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    axis = node.config["axis"] % len(x.shape)
    turned = f"{x.shape[axis]} - 1 - "
    return _moved(
        writer,
        node,
        x,
        x.shape,
        lambda p: [turned + one if k == axis else one for k, one in enumerate(p)],
    )


def _pad(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), widths = inputs, node.config["pad_width"]
    padded = [k for k, pair in enumerate(widths) if any(pair)]
    shape = tuple(
        size.padded(sum(pair)) if isinstance(size, Open) else size + sum(pair)
        for size, pair in zip(x.shape, widths, strict=True)
    )

    def entry(places: list[str]) -> str:
        inside, moved = [], list(places)
        for k in padded:
            before, size = widths[k][0], x.shape[k]
            end = f"{before} + {size}" if isinstance(size, Open) else before + size
            inside.append(f"{places[k]} >= {before} && {places[k]} < {end}")
            moved[k] = f"{places[k]} - {before}"
        return f"{' && '.join(inside) or '1'} ? {x.at(moved)} : 0"

    return [writer.each(node.name, shape, entry, x.kind)]


def _repeat(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), repeats = inputs, int(node.config["repeats"])
    axis = int(node.config["axis"]) % len(x.shape)
    size = x.shape[axis]
    if isinstance(size, Open):
        raise ConfigError(f"C: '{node.name}' repeats open steps, which is not written. Use onnx.")
    shape = (*x.shape[:axis], size * repeats, *x.shape[axis + 1 :])
    return _moved(
        writer,
        node,
        x,
        shape,
        lambda p: [f"({one} / {repeats})" if k == axis else one for k, one in enumerate(p)],
    )


def _concatenate(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    axis = int(node.config.get("axis", -1)) % len(inputs[0].shape)
    kind = _widest([value.kind for value in inputs])
    sizes = [value.shape[axis] for value in inputs]
    if any(isinstance(size, Open) for size in sizes):
        if len(sizes) == 1:
            return [inputs[0]]
        raise ConfigError(f"C: '{node.name}' joins open axes, which is not written. Use onnx.")
    shape = (*inputs[0].shape[:axis], sum(sizes), *inputs[0].shape[axis + 1 :])
    y = writer.buffer(node.name, shape, kind)
    for value, start in zip(inputs, accumulate([0, *sizes[:-1]]), strict=True):

        def body(places: list[str], value: Value = value, start: int = start) -> list[str]:
            return [f"{y.at(_shifted(axis, start, places))} = {value.at(places)};"]

        writer.add(loops(value.shape, body))
    return [y]


def _stack(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    rank = len(inputs[0].shape) + 1
    axis = int(node.config.get("axis", 0)) % rank
    apart = [Value(one.code, (*one.shape[:axis], 1, *one.shape[axis:]), one.kind) for one in inputs]
    joined = Node(node.name, "concatenate", node.inputs, node.outputs, {"axis": axis})
    return _concatenate(writer, joined, apart)


def _split(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axis = inputs, int(node.config.get("axis", 0)) % len(inputs[0].shape)
    cuts, size = node.config["indices_or_sections"], x.shape[axis]
    if isinstance(size, Open):
        raise ConfigError(f"C: '{node.name}' splits open steps, which is not written. Use onnx.")
    starts = list(range(0, size, size // cuts)) if isinstance(cuts, int) else [0, *cuts]
    parts = []
    for begin, stop in zip(starts, [*starts[1:], size], strict=True):
        shape = (*x.shape[:axis], stop - begin, *x.shape[axis + 1 :])
        parts += _moved(writer, node, x, shape, partial(_shifted, axis, begin))
    return parts


def _shifted(axis: int, start: int, places: list[str]) -> list[str]:
    """The places `start` further along an axis."""
    return [_sum(str(start), one, 1) if k == axis else one for k, one in enumerate(places)]


def _take(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    x, places = inputs
    axis, rank = int(node.config["axis"]) % len(x.shape), len(places.shape)
    shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])

    def place(p: list[str]) -> list[str]:
        return [*p[:axis], places.at(p[axis : axis + rank]), *p[axis + rank :]]

    return _moved(writer, node, x, shape, place)


def _take_along_axis(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    x, indices = inputs
    axis = int(node.config["axis"]) % len(x.shape)
    shape = tuple(
        own if k != axis and own != 1 else other
        for k, (own, other) in enumerate(zip(x.shape, indices.shape, strict=True))
    )
    whole = "(int)" * (indices.kind == FLOAT)

    def place(places: list[str]) -> list[str]:
        return [
            f"{whole}{indices.at(places)}" if k == axis else one for k, one in enumerate(places)
        ]

    return _moved(writer, node, x, shape, place)


def _matmul(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    a, b = inputs
    first = _broadcast([Value("", one.shape[:-2] or (1,)) for one in (a, b)])
    batch = first if max(len(a.shape), len(b.shape)) > 2 else ()
    shape = (*batch, a.shape[-2], b.shape[-1])
    y = writer.buffer(node.name, shape)

    def body(p: list[str]) -> list[str]:
        left, right = a.at([*p[:-1], "k"]), b.at([*p[:-2], "k", p[-1]])
        return [
            "float a = 0.0f;",
            f"for (int k = 0; k < {a.shape[-1]}; k++) a += {left} * {right};",
            f"{y.at(p)} = a;",
        ]

    writer.add(_scope(loops(shape, body)))
    return [y]


REDUCTIONS = {  # the start, and what joins it with an entry
    "sum": ("0.0f", "a + {0}"),
    "mean": ("0.0f", "a + {0}"),
    "max": ("-HUGE_VALF", "{0} > a ? {0} : a"),
    "min": ("HUGE_VALF", "{0} < a ? {0} : a"),
    "any": ("0", "a || {0}"),
    "all": ("1", "a && {0}"),
}


def _reduction(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axis = inputs, node.config.get("axis")
    rank = len(x.shape)
    given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = {one % rank for one in given}
    kind = BOOL if node.operation in ("any", "all") else FLOAT
    wide = tuple(1 if k in axes else size for k, size in enumerate(x.shape))
    y = writer.buffer(node.name, wide, kind)
    start, join = REDUCTIONS[node.operation]
    gone = tuple(size if k in axes else 1 for k, size in enumerate(x.shape))

    def body(places: list[str]) -> list[str]:
        def inner(own: list[str]) -> list[str]:
            entry = x.at([own[k] if k in axes else one for k, one in enumerate(places)])
            return [f"a = {join.format(entry)};"]

        count = f" / (float)({times(gone)})" if node.operation == "mean" else ""
        return [
            f"{kind} a = {start};",
            *loops(gone, inner, "r"),
            f"{y.at(places)} = a{count};",
        ]

    writer.add(_scope(loops(wide, body)))
    kept = (
        wide
        if node.config.get("keepdims")
        else tuple(size for k, size in enumerate(wide) if k not in axes)
    )
    return [Value(y.code, kept, kind)]


def _cumsum(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    axis = int(node.config["axis"]) % len(x.shape)
    kind = _widest([x.kind, INT])
    y = writer.buffer(node.name, x.shape, kind)
    others = tuple(1 if k == axis else size for k, size in enumerate(x.shape))

    def body(places: list[str]) -> list[str]:
        at = [*places[:axis], "k", *places[axis + 1 :]]
        return [
            f"{kind} a = 0;",
            f"for (int k = 0; k < {x.shape[axis]}; k++) {{",
            f"  a += {x.at(at)};",
            f"  {y.at(at)} = a;",
            "}",
        ]

    writer.add(_scope(loops(others, body)))
    return [y]


def _top_k(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    """All entries of the last axis in descending order; places are not kept."""
    (x,), count = inputs, int(node.config["k"])
    if count != x.shape[-1]:
        raise ConfigError(f"C: '{node.name}' keeps the best {count}, which is not written.")
    y = writer.buffer(node.name, x.shape)

    def body(p: list[str]) -> list[str]:
        def at(place: str) -> str:
            return y.at([*p[:-1], place])

        return [
            f"for (int k = 0; k < {count}; k++) {{",
            f"  const float a = {x.at([*p[:-1], 'k'])};",
            "  int r = k;",
            f"  for (; r > 0 && {at('(r - 1)')} < a; r--) {at('r')} = {at('(r - 1)')};",
            f"  {at('r')} = a;",
            "}",
        ]

    writer.add(loops((*x.shape[:-1], 1), body))
    return [y]


OPERATIONS: Mapping[str, Callable[[Writer, Node, Inputs], list[Value]]] = {
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
    "softmax": _softmax,
    "log_softmax": _softmax,
    "reshape": _reshape,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "getitem": _getitem,
    "transpose": _transpose,
    "flip": _flip,
    "repeat": _repeat,
    "pad": _pad,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "take": _take,
    "take_along_axis": _take_along_axis,
    "matmul": _matmul,
    "where": _where,
    "cast": _cast,
    "cumsum": _cumsum,
    "top_k": _top_k,
    "ones_like": _like,
    "zeros_like": _like,
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(LOGICAL, _logical),
    **dict.fromkeys(REDUCTIONS, _reduction),
}
