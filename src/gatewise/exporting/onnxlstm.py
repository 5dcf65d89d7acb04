"""An LSTM as an ONNX `LSTM`.

The gates of ONNX are i o f c, and those of Keras are i f c o; ONNX has two biases, of which the
second is 0 here; its steps come first (`layout=0`, because few runtimes have the other one). See
https://onnx.ai/onnx/operators/onnx__LSTM.html.
"""

import dataclasses
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.exporting.onnxarithmetic import cumulated
from gatewise.exporting.onnxshapes import along, flipped
from gatewise.exporting.onnxwriter import (
    Inputs,
    Results,
    Value,
    Writer,
)
from gatewise.runtime.graph import Node, starts_with_state

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


def lstm(writer: Writer, node: Node, inputs: Inputs) -> Results:
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
    turn = _turned(writer, given, count) if turned else None
    if turn:
        given = along(writer, Value(given, "float32", 3), turn, 0)
    elif backwards and mask is None:
        given = flipped(writer, given, 0)  # tract reads forwards whatever the direction
    zeros = "" if h0 else _zeros(writer, given, int(config["units"]))
    state = [emit("Unsqueeze", one.name, c([0])) if one else zeros for one in (h0, c0)]
    y, h, cell = writer.emit_all(
        "LSTM",
        [given, *_weights(writer, node), lengths, *state, ""],
        outputs=writer.fresh(3),
        hidden_size=int(config["units"]),
        direction="reverse" if backwards and lengths else "forward",
        **_activations(node),
    )
    every = emit("Squeeze", y, c([1]))  # [steps, batch, units]
    after = Value(emit("Squeeze", h, c([0])), "float32", 2)
    cell_after = Value(emit("Squeeze", cell, c([0])), "float32", 2)
    if count and not lengths:
        after = _at_the_end(writer, every, count, h0)
    if not sequences:
        return [_last(writer, node, after, mask, count), after, cell_after]
    if turn:
        every = along(writer, Value(every, "float32", 3), turn, 0)
    every = emit("Transpose", every, perm=[1, 0, 2])  # [batch, steps, units]
    if mask is not None:
        every = _spread(writer, Value(every, "float32", 3), mask, node, h0)
    if backwards and mask is not None:
        every = flipped(writer, every, 1)
    return [Value(every, "float32", 3), after, cell_after]


def _held(writer: Writer, x: Value, count: str, node: Node) -> tuple[Value, Node, str]:
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


def _zeros(writer: Writer, given: str, units: int) -> str:
    """States of 0, because tract needs a batch of known size where it makes them itself."""
    batch = writer.emit("Shape", given, start=1, end=2)
    c = writer.constant
    shape = writer.emit("Concat", c([1]), batch, c([units]), axis=0)
    return writer.emit("Expand", c(np.zeros((1, 1, 1), np.float32)), shape)


def _turned(writer: Writer, given: str, count: str) -> Value:
    """Places [steps, batch, 1] that reverse `count` steps, because tract has no ReverseSequence."""
    emit, c = writer.emit, writer.constant
    steps = emit("Gather", emit("Shape", given), c(0), axis=0)
    place = emit("Unsqueeze", emit("Range", c(0), steps, c(1)), c([1]))
    turned = emit("Sub", emit("Sub", count, c(1)), place)  # [steps, batch]
    places = emit("Where", emit("GreaterOrEqual", turned, c(0)), turned, place)
    return Value(emit("Unsqueeze", places, c([2])), "int64", 3)


def _at_the_end(writer: Writer, every: str, count: str, h0: Any) -> Value:
    """The outputs [steps, batch, units] after `count` steps [batch], or the first state."""
    emit, c = writer.emit, writer.constant
    place = emit("Max", emit("Sub", count, c(1)), c(0))
    places = Value(emit("Unsqueeze", place, c([0, 2])), "int64", 3)  # [1, batch, 1]
    found = emit("Squeeze", along(writer, Value(every, "float32", 3), places, 0), c([0]))
    real = emit("Unsqueeze", emit("Greater", count, c(0)), c([1]))
    return Value(emit("Where", real, found, h0.name if h0 else c(0.0)), "float32", 2)


def _last(writer: Writer, node: Node, state: Value, mask: Value | None, count: str) -> Value:
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


def _weights(writer: Writer, node: Node) -> list[str]:
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


def _activations(node: Node) -> dict[str, Any]:
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


def _compact(writer: Writer, x: Value, mask: Value) -> str:
    """The unmasked steps of each sequence moved to the front, in their order."""
    emit, c = writer.emit, writer.constant
    real = writer.cast(mask, "int64").name
    steps = emit("Gather", emit("Shape", mask.name), c(1), axis=0)
    place = emit("Range", c(0), steps, c(1))
    number = cumulated(writer, mask, 1)  # of unmasked steps so far
    count = emit("ReduceSum", real, c([1]), keepdims=1)
    # An unmasked step goes behind those before it, and a masked one behind all of them.
    behind = emit("Sub", emit("Add", count, place), number)
    to = emit("Where", mask.name, emit("Sub", number, c(1)), behind)
    places = emit("Expand", place, emit("Shape", mask.name))
    order = emit("ScatterElements", places, to, places, axis=1)
    return along(writer, x, Value(emit("Unsqueeze", order, c([2])), "int64", 3), 1)


def _spread(writer: Writer, y: Value, mask: Value, node: Node, h0: Any) -> str:
    """The outputs of the unmasked steps, [batch, steps, units], back at their steps.

    A masked step is 0 if the layer asks for it, or else repeats the output of the step processed
    before it. If there is none, it is the initial state or 0.
    """
    emit, c = writer.emit, writer.constant
    number = cumulated(writer, mask, 1)  # of unmasked steps so far
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
    found = along(writer, y, places, 1)
    repeats = h0 and starts_with_state(node) and not node.config.get("zero_output_for_mask")
    other = emit("Unsqueeze", h0.name, c([1])) if repeats else c(0.0)
    return emit("Where", emit("Unsqueeze", real, c([2])), found, other)
