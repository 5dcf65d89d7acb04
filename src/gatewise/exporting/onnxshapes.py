"""Operations of ONNX exports that move entries or only change the shape."""

from collections.abc import Mapping, Sequence

import numpy as np

from gatewise.exporting.onnxwriter import Inputs, Operation, Results, Value, Writer, alike, axes_of
from gatewise.runtime.graph import Node

LAST = np.iinfo(np.int64).max  # an end of a slice behind every axis


def _flatten(writer: Writer, _node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [Value(writer.emit("Flatten", x.name, axis=1), x.dtype, 2)]


def _reshape(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), shape = inputs, list(node.config["newshape"])
    return [Value(writer.emit("Reshape", x.name, writer.constant(shape)), x.dtype, len(shape))]


def _getitem(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), key = inputs, list(node.config["key"])
    dots = key.index("...") if "..." in key else len(key)
    taken = sum(one is not None and one != "..." for one in key)
    key = [*key[:dots], *[[None, None, None]] * (x.rank - taken), *key[dots + 1 :]]
    slices = {
        axis: one
        for axis, one in enumerate(one for one in key if one is not None)
        if isinstance(one, list | tuple) and list(one) != [None, None, None]
    }
    name = sliced(writer, x.name, slices)
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


def sliced(writer: Writer, name: str, slices: Mapping[int, Sequence[int | None]]) -> str:
    """The slices of some axes, each given as start, stop and step."""
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


def _flip(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    return [Value(flipped(writer, x.name, node.config["axis"]), x.dtype, x.rank)]


def flipped(writer: Writer, name: str, axis: int) -> str:
    """The entries along an axis in reverse order.

    They are gathered, because tract cuts no open axis backwards. ONNX Runtime makes a slice of
    places that come from a Range alone, and an end of -1 before the first one means the last.
    """
    emit, c = writer.emit, writer.constant
    size = emit("Gather", emit("Shape", name), c(axis), axis=0)
    places = emit("Sub", emit("Sub", size, c(1)), emit("Range", c(0), size, c(1)))
    return emit("Gather", name, places, axis=axis)


def _transpose(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axes = inputs, node.config.get("axes")
    axes = list(reversed(range(x.rank))) if axes is None else list(axes)
    return [Value(writer.emit("Transpose", x.name, perm=axes), x.dtype, x.rank)]


def _pad(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), widths = inputs, np.asarray(node.config["pad_width"], np.int64)
    if not widths.any():
        return [x]
    amounts = writer.constant(widths.T.reshape(-1))  # all begins, then all ends
    return [Value(writer.emit("Pad", x.name, amounts), x.dtype, x.rank)]


def _repeat(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axis, times = inputs, int(node.config["axis"]), int(node.config["repeats"])
    c = writer.constant
    size = writer.emit("Gather", writer.emit("Shape", x.name), c(axis), axis=0)
    count = writer.emit("Mul", size, c(times))
    places = writer.emit("Div", writer.emit("Range", c(0), count, c(1)), c(times))
    return [Value(writer.emit("Gather", x.name, places, axis=axis), x.dtype, x.rank)]


def _expand_dims(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axes = inputs, node.config["axis"]
    axes = [axes] if isinstance(axes, int) else list(axes)
    made = writer.emit("Unsqueeze", x.name, writer.constant(axes))
    return [Value(made, x.dtype, x.rank + len(axes))]


def _squeeze(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,) = inputs
    axes = axes_of(node.config["axis"], x.rank)
    return [
        Value(writer.emit("Squeeze", x.name, writer.constant(axes)), x.dtype, x.rank - len(axes))
    ]


def _concatenate(writer: Writer, node: Node, inputs: Inputs) -> Results:
    values = alike(writer, inputs)
    axis = int(node.config.get("axis", -1))
    made = writer.emit("Concat", *(value.name for value in values), axis=axis)
    return [Value(made, values[0].dtype, values[0].rank)]


def _stack(writer: Writer, node: Node, inputs: Inputs) -> Results:
    values, axis = alike(writer, inputs), int(node.config.get("axis", 0))
    apart = [writer.emit("Unsqueeze", one.name, writer.constant([axis])) for one in values]
    made = writer.emit("Concat", *apart, axis=axis)
    return [Value(made, values[0].dtype, values[0].rank + 1)]


def _split(writer: Writer, node: Node, inputs: Inputs) -> Results:
    (x,), axis = inputs, int(node.config.get("axis", 0))
    cuts = node.config["indices_or_sections"]
    if isinstance(cuts, int):
        names = writer.emit_all(
            "Split", [x.name], outputs=writer.fresh(cuts), axis=axis, num_outputs=cuts
        )
        return [Value(name, x.dtype, x.rank) for name in names]
    bounds = zip([0, *cuts], [*cuts, None], strict=True)
    return [
        Value(sliced(writer, x.name, {axis: (start, stop, 1)}), x.dtype, x.rank)
        for start, stop in bounds
    ]


def _take(writer: Writer, node: Node, inputs: Inputs) -> Results:
    x, places = inputs[0], writer.cast(inputs[1], "int64")
    axis = int(node.config["axis"])
    made = writer.emit("Gather", x.name, places.name, axis=axis)
    return [Value(made, x.dtype, x.rank + places.rank - 1)]


def _take_along_axis(writer: Writer, node: Node, inputs: Inputs) -> Results:
    x, places = inputs[0], writer.cast(inputs[1], "int64")
    return [Value(along(writer, x, places, int(node.config["axis"])), x.dtype, x.rank)]


def along(writer: Writer, x: Value, places: Value, axis: int) -> str:
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


SHAPES: Mapping[str, Operation] = {
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
}
